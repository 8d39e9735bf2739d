"""All kinds of work, in the order in which they are done and reported."""

from benchmarks.workload import Kind
from benchmarks.workloads.accounts import Accounts
from benchmarks.workloads.big_room import BigRoom
from benchmarks.workloads.create_rooms import CreateRooms
from benchmarks.workloads.fan_out import FanOut
from benchmarks.workloads.federation import Federating
from benchmarks.workloads.growth import RoomHistories, RoomSizes
from benchmarks.workloads.idle_polls import IdlePolls
from benchmarks.workloads.keys import Keys
from benchmarks.workloads.media import Media
from benchmarks.workloads.paging import Paging
from benchmarks.workloads.sending import SendAlone, SendTogether, SendToHugeRoom
from benchmarks.workloads.start import Start
from benchmarks.workloads.syncing import Syncing
from benchmarks.workloads.to_device import ToDevice

KINDS = (
    Kind("start", Start),
    Kind("accounts", Accounts),
    Kind("create-rooms", CreateRooms),
    Kind("send-alone", SendAlone),
    Kind("send-together", SendTogether),
    Kind("fan-out", FanOut),
    Kind("sync", Syncing),
    Kind("idle-polls", IdlePolls),
    Kind("room-sizes", RoomSizes),
    Kind("room-histories", RoomHistories),
    Kind("big-room", BigRoom),
    Kind("paging", Paging),
    Kind("media", Media),
    Kind("keys", Keys),
    Kind("to-device", ToDevice),
    Kind("federation", Federating),
    Kind("huge-room", SendToHugeRoom, is_long=True),
)
