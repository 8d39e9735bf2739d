"""Messages to devices on two sites: each is delivered once, in order."""

import random

from twisted.trial.unittest import SynchronousTestCase

from storage.devices import AddDevice, DeleteDevice
from storage.replication.own_site import become_site
from storage.to_device import (
    MergeDelivered,
    RemoveToDeviceMessages,
    SendToDevice,
    ToDeviceDelivered,
    ToDeviceMessage,
    ToDeviceRepository,
)
from storage.to_device_remote import RemoteDelivered, SendToRemoteDevices, ToDeviceRemoteRepository
from tests.storage.replication.sites_case import SitesMixin, StoredSite
from tests.storage.storage_case import PostgresStorage, SqliteStorage

ALICE = "@alice:one.example"
PHONE = (ALICE, "PHONE")
TABLET = (ALICE, "TABLET")
FAR = "far.example"


class ToDeviceRecordsTests(SitesMixin):
    def setUp(self) -> None:
        super().setUp()
        for site in (self.anna, self.berta):
            site.become(f"log of {site.name}")
        self.anna.commit(AddDevice(*PHONE, None, 1), AddDevice(*TABLET, None, 1))
        self.exchange(self.anna, self.berta)

    def send(self, site: StoredSite, text: str, *devices: tuple[str, str]) -> int:
        message = ToDeviceMessage(text.encode(), devices or (PHONE,))
        return site.commit(SendToDevice((message,))).position

    def waiting(self, site: StoredSite, device: tuple[str, str] = PHONE) -> list[str]:
        rows = site.read(lambda tx: ToDeviceRepository().get_after(tx, *device, 0, 10**9, 1000))
        return [bytes(event).decode() for _, event in rows]

    def deliver(self, site: StoredSite, upto: int | None = None) -> None:
        site.commit(ToDeviceDelivered(*PHONE, site.log.position if upto is None else upto))

    def test_a_message_waits_on_both_sites_and_goes_on_both(self) -> None:
        self.send(self.anna, "one", PHONE, TABLET)
        self.send(self.anna, "two")
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.waiting(self.berta), ["one", "two"])
        self.deliver(self.berta)
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.waiting(self.anna), self.waiting(self.berta)], [[], []])
        self.assertEqual(self.waiting(self.anna, TABLET), ["one"])

    def test_a_message_that_was_delivered_does_not_come_again(self) -> None:
        self.send(self.anna, "one")
        late = [placed.record for placed in self.anna.export("berta")]
        self.exchange(self.anna, self.berta)
        self.deliver(self.berta)
        self.berta.take_in("anna", late)
        self.assertEqual(self.waiting(self.berta), [])
        self.send(self.anna, "two")
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.waiting(self.berta), ["two"])

    def test_what_a_device_got_at_the_other_site_is_not_taken_when_it_comes_late(self) -> None:
        position = self.send(self.anna, "one")
        self.send(self.anna, "two")
        self.berta.commit(MergeDelivered(*PHONE, "log of anna", position))
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.waiting(self.berta), self.waiting(self.anna)], [["two"], ["two"]])

    def test_messages_go_with_the_device(self) -> None:
        self.send(self.anna, "one")
        self.exchange(self.anna, self.berta)
        self.anna.commit(DeleteDevice(*PHONE), RemoveToDeviceMessages(ALICE, (PHONE[1],)))
        self.berta.now_ms += 50
        self.send(self.berta, "late")
        self.exchange(self.anna, self.berta)
        self.assertEqual([self.waiting(self.anna), self.waiting(self.berta)], [[], []])

    def test_a_copied_database_knows_messages_by_the_same_names(self) -> None:
        self.send(self.anna, "one")
        self.anna.database.write_now(lambda tx: become_site(tx, "carla", "log of carla", ("anna", "berta")))
        self.anna.name = "carla"
        key = ("to_device", (*PHONE, "log of anna", str(self.anna.log.position)))
        self.assertEqual(self.anna.all_values()[key], "one")  # type: ignore[attr-defined]

    def test_each_sites_messages_stay_in_order_and_come_once_wherever_the_device_is(self) -> None:
        for seed in range(20):
            self.check_random(random.Random(seed), f"{seed}-")

    def check_random(self, choice: random.Random, name: str) -> None:
        sites, got, at = (self.anna, self.berta), [], self.anna
        for number in range(40):
            site = choice.choice(sites)
            act = choice.randrange(5)
            if act < 2:
                self.send(site, f"{name}{site.name} {number:02}")
            elif act == 2:
                got += self.waiting(at)
                self.deliver(at)
            elif act == 3:
                # The device moves, and what it got before is known where it goes.
                other = sites[1 - sites.index(at)]
                other.hear(at)
                at = other
            else:
                other = sites[1 - sites.index(site)]
                other.hear(site)
        self.exchange(*sites)
        got += self.waiting(at)
        self.deliver(at)
        self.exchange(*sites)
        for site in sites:
            self.assertEqual(self.waiting(site), [])
            mine = [text for text in got if site.name in text]
            self.assertEqual(mine, sorted(set(mine)))

    def test_messages_to_other_servers_wait_on_both_sites_under_one_name(self) -> None:
        self.anna.commit(SendToRemoteDevices(((FAR, b"{1}"), (FAR, b"{2}"))))
        self.exchange(self.anna, self.berta)
        there, here = (
            site.read(lambda tx: ToDeviceRemoteRepository().get_messages(tx, FAR, 10))
            for site in (self.berta, self.anna)
        )
        self.assertEqual([each.content for each in there], [b"{1}", b"{2}"])
        self.assertEqual([each.message_id for each in there], [each.message_id for each in here])
        self.berta.commit(RemoteDelivered(FAR, tuple((each.position, each.number) for each in there)))
        self.exchange(self.anna, self.berta)
        self.assertEqual(self.anna.read(lambda tx: ToDeviceRemoteRepository().get_messages(tx, FAR, 10)), [])


class SqliteToDeviceRecordsTests(SqliteStorage, ToDeviceRecordsTests, SynchronousTestCase): ...


class PostgresToDeviceRecordsTests(PostgresStorage, ToDeviceRecordsTests, SynchronousTestCase): ...
