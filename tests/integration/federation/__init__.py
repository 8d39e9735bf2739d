"""Servers that federate: real processes on loopback, with TLS, a real Synapse among them.

`peers.py` has the servers (`OurPeer`, `SynapsePeer`) and their users, `pairs.py` says which two stand against each
other. A set of scenarios is one mixin, written against `self.here` and `self.there`, and a class for each pair:

    class TypingScenarios(Scenarios):
        def test_typing_arrives(self) -> None:
            alice, bob = self.here.register("alice"), self.there.register("bob")
            room_id = self.given_shared_room(alice, bob)
            alice.put(f"/rooms/{quote(room_id)}/typing/{quote(alice.user_id)}", {"typing": True, "timeout": 9000})
            eventually(lambda: alice.user_id in typing_users(bob, room_id), "bob sees alice typing")

    class TypingWithSynapseTests(OursOnSqliteWithSynapse, TypingScenarios): ...
    class TypingOnPostgresWithSynapseTests(OursOnPostgresWithSynapse, TypingScenarios): ...
    class TypingBetweenOursTests(TwoOfOurs, TypingScenarios): ...

`listening.py` has a client that syncs and remembers what it was told, `key_material.py` devices with real keys.

The servers are started by the first test of the process that asks for them and live until it ends, so a test makes
users and rooms of its own (`register` makes each name unique) and leaves no server cut off or stopped. Nothing sleeps
for a fixed time: `eventually` asks again until it is so. `self.partition()` cuts every connection between servers.
"""
