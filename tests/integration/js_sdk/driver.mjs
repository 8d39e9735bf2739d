// Drives a server with matrix-js-sdk: node driver.mjs BASE_URL plain|encrypted [OTHER_BASE_URL]
// With another server, one of the two users of the encrypted scenario is there.
// Exits with 0 if the scenario went well; else the reason is on the standard error.

import assert from "node:assert/strict";

// The SDK asks for Node 22 because of this one function, which Node 20 lacks.
Promise.withResolvers ??= function withResolvers() {
    let resolve, reject;
    const promise = new this((accept, refuse) => {
        resolve = accept;
        reject = refuse;
    });
    return { promise, resolve, reject };
};

const { ClientEvent, MatrixEventEvent, RoomEvent, RoomMemberEvent, RoomStateEvent, createClient } = await import(
    "matrix-js-sdk"
);

const PASSWORD = "correct horse battery";
const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error: console.error, getChild: () => quiet };

// Resolves when `isTrue` holds, which is looked at now and whenever the client tells of something new.
function until(client, what, isTrue) {
    const events = [
        ClientEvent.Sync,
        ClientEvent.Room,
        MatrixEventEvent.Decrypted,
        RoomEvent.MyMembership,
        RoomEvent.Redaction,
        RoomEvent.Timeline,
        RoomMemberEvent.Membership,
        RoomStateEvent.Events,
    ];
    return new Promise((resolve, reject) => {
        const stop = () => {
            clearTimeout(deadline);
            events.forEach((event) => client.off(event, look));
        };
        const look = () => {
            if (isTrue()) {
                stop();
                resolve();
            }
        };
        const deadline = setTimeout(() => {
            stop();
            reject(new Error(`It did not happen: ${what}`));
        }, 60_000);
        events.forEach((event) => client.on(event, look));
        look();
    });
}

async function registered(baseUrl, username) {
    const anonymous = createClient({ baseUrl, logger: quiet });
    const credentials = await anonymous.registerRequest({
        username,
        password: PASSWORD,
        auth: { type: "m.login.dummy" },
        inhibit_login: true,
    });
    assert.equal(credentials.access_token, undefined);
    return loggedIn(baseUrl, credentials.user_id);
}

async function loggedIn(baseUrl, user) {
    const anonymous = createClient({ baseUrl, logger: quiet });
    const credentials = await anonymous.loginRequest({
        type: "m.login.password",
        identifier: { type: "m.id.user", user },
        password: PASSWORD,
    });
    return createClient({
        baseUrl,
        userId: credentials.user_id,
        deviceId: credentials.device_id,
        accessToken: credentials.access_token,
        logger: quiet,
    });
}

async function start(client, encrypted) {
    if (encrypted) {
        await client.initRustCrypto({ useIndexedDB: false });
    }
    await client.startClient({ initialSyncLimit: 5 });
    await until(client, "the first sync", () => client.isInitialSyncComplete());
}

function messages(room) {
    return room
        .getLiveTimeline()
        .getEvents()
        .filter((event) => event.getType() === "m.room.message" && !event.status);
}

async function meet(alice, bob, initialState) {
    const { room_id: roomId } = await alice.createRoom({ name: "The SDK's", initial_state: initialState });
    await alice.invite(roomId, bob.getUserId());
    await until(bob, "the invitation", () => bob.getRoom(roomId)?.getMyMembership() === "invite");
    await bob.joinRoom(roomId);
    await until(bob, "the joined room", () => bob.getRoom(roomId)?.getMyMembership() === "join");
    await until(alice, "Bob's joining", () => alice.getRoom(roomId)?.getMember(bob.getUserId())?.membership === "join");
    await until(bob, "the room's name", () => bob.getRoom(roomId).name === "The SDK's");
    return roomId;
}

async function seeMessage(sender, receiver, roomId, body) {
    const { event_id: eventId } = await sender.sendTextMessage(roomId, body);
    const arrived = () => receiver.getRoom(roomId).findEventById(eventId);
    await until(receiver, `the message ${body}`, () => arrived()?.getContent().body === body);
    assert.equal(arrived().getSender(), sender.getUserId());
    return arrived();
}

async function seeRedaction(alice, bob, roomId, event) {
    await alice.redactEvent(roomId, event.getId(), undefined, { reason: "mistaken" });
    await until(bob, "the redaction", () => event.isRedacted());
    assert.deepEqual(event.getContent(), {});
}

async function pageBack(baseUrl, alice, bob, roomId) {
    const sent = [];
    for (let number = 0; number < 35; number++) {
        sent.push((await alice.sendTextMessage(roomId, `Message ${number}`)).event_id);
    }
    // A second device of Bob's starts with the five newest and pages to the beginning of the room.
    const second = await loggedIn(baseUrl, bob.getUserId());
    await start(second, false);
    const room = second.getRoom(roomId);
    assert.deepEqual(
        messages(room).map((event) => event.getId()),
        sent.slice(-5),
    );
    while (room.oldState.paginationToken !== null) {
        await second.scrollback(room, 10);
    }
    const seen = messages(room).map((event) => event.getId());
    assert.deepEqual(seen.slice(-35), sent);
    assert.equal(room.getLiveTimeline().getEvents()[0].getType(), "m.room.create");
    await second.logout(true);
}

async function logOut(client) {
    const token = client.getAccessToken();
    await client.logout(true);
    const stale = createClient({ baseUrl: client.getHomeserverUrl(), accessToken: token, logger: quiet });
    await assert.rejects(stale.whoami(), { errcode: "M_UNKNOWN_TOKEN" });
}

async function plain(baseUrl) {
    const alice = await registered(baseUrl, "alice");
    const bob = await registered(baseUrl, "bob");
    await start(alice, false);
    await start(bob, false);
    const roomId = await meet(alice, bob, []);
    const event = await seeMessage(alice, bob, roomId, "Hello, Bob");
    await seeRedaction(alice, bob, roomId, event);
    await pageBack(baseUrl, alice, bob, roomId);
    await bob.leave(roomId);
    await until(alice, "Bob's leaving", () => alice.getRoom(roomId).getMember(bob.getUserId()).membership === "leave");
    await logOut(alice);
    await logOut(bob);
}

async function encrypted(baseUrl, otherBaseUrl) {
    // The servers may be those of other tests, too.
    const unique = crypto.randomUUID().slice(0, 8);
    const alice = await registered(baseUrl, `alice-${unique}`);
    const bob = await registered(otherBaseUrl, `bob-${unique}`);
    await start(alice, true);
    await start(bob, true);
    const roomId = await meet(alice, bob, [
        { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
    ]);
    for (const [sender, receiver, body] of [
        [alice, bob, "A secret"],
        [bob, alice, "Another"],
        [alice, bob, "A third"],
    ]) {
        const event = await seeMessage(sender, receiver, roomId, body);
        assert.equal(event.isEncrypted(), true);
        assert.equal(event.getWireType(), "m.room.encrypted");
        assert.equal(JSON.stringify(event.getWireContent()).includes(body), false);
    }
    await logOut(alice);
    await logOut(bob);
}

const [baseUrl, scenario, otherBaseUrl = baseUrl] = process.argv.slice(2);
try {
    await { plain, encrypted }[scenario](baseUrl, otherBaseUrl);
    process.exit(0);
} catch (error) {
    console.error(error);
    process.exit(1);
}
