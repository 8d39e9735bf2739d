"""Tests of one organisation on several sites, through what clients and servers see."""
