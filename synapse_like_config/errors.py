"""What can be wrong with a configuration."""


class WrongValue(Exception):
    """A value is not what its option takes. Carries the sentence alone; the reader knows key and line.

    `key` is set by checks over several options, and names the one to blame relative to the section.
    """

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.key = key


class ConfigError(Exception):
    """The configuration cannot be used: says in which file, on which line, by which key, and why.

    `line` counts from 1; 0 means the file as a whole, for example when an option is missing.
    """

    def __init__(self, file: str, line: int, key: str, message: str) -> None:
        self.file = file
        self.line = line
        self.key = key
        self.message = message
        place = f"{file}, line {line}" if line else file
        super().__init__(f"{place}: {key}: {message}" if key else f"{place}: {message}")
