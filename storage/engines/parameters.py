"""Statements with something else in place of their `?`."""


def take_from_given(select: str) -> tuple[str, list[str]]:
    """The SELECT with columns of a table `given` in place of its `?`, and the names of these columns."""
    first, *others = select.split("?")
    columns = [f"p{number}" for number in range(len(others))]
    each = first + "".join(f"given.{column}{other}" for column, other in zip(columns, others, strict=True))
    return each, columns


def number_parameters(sql: str) -> str:
    """With `$1`, `$2` and so on."""
    first, *others = sql.split("?")
    return first + "".join(f"${number + 1}{other}" for number, other in enumerate(others))
