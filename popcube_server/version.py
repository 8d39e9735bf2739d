"""The version of this software, as `popcube-server version` and the federation version endpoint tell it."""

NAME = "PopCube server"
VERSION = "0.1.0"
