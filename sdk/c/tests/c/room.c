/* Two headsets in a room: everything that they can do with each other.
   Arguments: server, token of one user, token of another. */
#include "check.h"

static NcClient a, b;
static NcRoom ada, bob;

/* Each moves, and is seen where it is. */
static void poses(void) {
    NcPose pose = {.head = {.position = {1.0f, 1.7f, -2.0f}, .rotation = {0, 0, 0, 1}}, .has_right = 1};
    pose.right = pose.head;
    pose.right.position[1] = 1.2f;
    NcShownPose seen[4];
    int count = 0;
    for (int i = 0; i < 500 && count == 0; i++) {
        CHECK(nc_room_send_pose(ada, NULL, 0, &pose, (const uint8_t *)"x", 1) == NC_RESULT_OK);
        count = nc_room_poses(bob, seen, 4);
        pause_ms(10);
    }
    CHECK(count == 1 && seen[0].peer == nc_room_me(ada) && seen[0].pose.has_right && !seen[0].pose.has_left);
    CHECK(seen[0].pose.head.position[2] > -2.01f && seen[0].pose.head.position[2] < -1.99f);
    CHECK(seen[0].shown_us > 0 && seen[0].newest_us >= seen[0].shown_us - 1000000);
    uint8_t rest[4];
    CHECK(nc_room_pose_rest(bob, nc_room_me(ada), 0, rest, 4) == 1 && rest[0] == 'x');
    CHECK(nc_room_pose_rest(bob, nc_room_me(ada), 7, rest, 4) == 0);
    pose.head.position[0] = 1e9f;
    CHECK(nc_room_send_pose(ada, NULL, 0, &pose, NULL, 0) == NC_RESULT_INVALID_ARGUMENT);
}

/* Events arrive in order, once; typed events with their type; large messages on the bulk lane. */
static void messages(void) {
    for (uint32_t i = 0; i < 100; i++) {
        NcResult sent;
        while ((sent = nc_room_send_event(ada, NULL, 7, (const uint8_t *)&i, sizeof i)) == NC_RESULT_WOULD_BLOCK) {
            pause_ms(1);
        }
        CHECK(sent == NC_RESULT_OK);
    }
    for (uint32_t i = 0; i < 100; i++) {
        NcEvent event = wait_for(b, NC_EVENT_KIND_EVENT, bob, 0);
        CHECK(event.peer == nc_room_me(ada) && event.channel == 7 && event.payload.len == sizeof i);
        CHECK(memcmp(event.payload.data, &i, sizeof i) == 0);
    }
    CHECK(nc_room_send_typed_event(ada, NULL, "door", (const uint8_t *)"open", 4) == NC_RESULT_OK);
    NcEvent event = wait_for(b, NC_EVENT_KIND_TYPED_EVENT, bob, 0);
    CHECK(text_is(event.name, "door") && text_is(event.payload, "open"));
    static uint8_t large[65536];
    large[65535] = 9;
    CHECK(nc_room_send_bulk(ada, NULL, 1, large, sizeof large) == NC_RESULT_OK);
    event = wait_for(b, NC_EVENT_KIND_BULK, bob, 0);
    CHECK(event.payload.len == sizeof large && event.payload.data[65535] == 9);
    CHECK(nc_room_send_event(ada, NULL, 0, large, sizeof large) == NC_RESULT_TOO_LARGE);
    CHECK(nc_room_send_event(ada, NULL, 240, large, 1) == NC_RESULT_INVALID_ARGUMENT);
    uint32_t me = nc_room_me(ada);
    NcTarget to = {.kind = NC_TARGET_KIND_PEERS, .peers = &me, .peer_count = 1};
    CHECK(nc_room_send_event(bob, &to, 3, NULL, 0) == NC_RESULT_OK);
    event = wait_for(a, NC_EVENT_KIND_EVENT, ada, 0);
    CHECK(event.channel == 3 && event.payload.len == 0);
    to.kind = 99;
    CHECK(nc_room_send_event(bob, &to, 3, NULL, 0) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_send_pointer(ada, NULL, 2, 5, (const uint8_t *)"p", 1) == NC_RESULT_OK);
    event = wait_for(b, NC_EVENT_KIND_POINTER, bob, 0);
    CHECK(event.channel == 2 && event.key == 5 && text_is(event.payload, "p") && event.age_us >= 0);
}

/* A call with an answer, one with an error, one that nobody knows, and one that nobody answers. */
static void rpcs(void) {
    NcOp op;
    uint32_t peer = nc_room_me(bob);
    CHECK(nc_room_rpc(ada, peer, "add", (const uint8_t *)"2+3", 3, 5000, &op) == NC_RESULT_OK);
    NcEvent asked = wait_for(b, NC_EVENT_KIND_RPC_REQUEST, bob, 0);
    CHECK(text_is(asked.name, "add") && text_is(asked.payload, "2+3") && asked.duration_ms > 0);
    uint64_t id = asked.id;
    CHECK(nc_room_answer(bob, id, 0, (const uint8_t *)"5", 1) == NC_RESULT_OK);
    CHECK(nc_room_answer(bob, id, 0, (const uint8_t *)"6", 1) == NC_RESULT_NOT_FOUND);
    NcEvent done = wait_for(a, NC_EVENT_KIND_DONE, ada, op);
    CHECK(done.result == NC_RESULT_OK && text_is(done.payload, "5"));

    CHECK(nc_room_rpc(ada, peer, "add", NULL, 0, 5000, &op) == NC_RESULT_OK);
    id = wait_for(b, NC_EVENT_KIND_RPC_REQUEST, bob, 0).id;
    CHECK(nc_room_answer(bob, id, 7, NULL, 0) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_answer(bob, id, 300, (const uint8_t *)"no numbers", 10) == NC_RESULT_OK);
    done = wait_for(a, NC_EVENT_KIND_DONE, ada, op);
    CHECK(done.result == NC_RESULT_RPC_FAILED && done.code == 300 && text_is(done.payload, "no numbers"));

    CHECK(nc_room_rpc(ada, peer, "fly", NULL, 0, 5000, &op) == NC_RESULT_OK);
    id = wait_for(b, NC_EVENT_KIND_RPC_REQUEST, bob, 0).id;
    CHECK(nc_room_answer(bob, id, 1, NULL, 0) == NC_RESULT_OK);
    CHECK(wait_for(a, NC_EVENT_KIND_DONE, ada, op).result == NC_RESULT_NO_SUCH_METHOD);

    CHECK(nc_room_rpc(ada, peer, "sleep", NULL, 0, 50, &op) == NC_RESULT_OK);
    CHECK(wait_for(a, NC_EVENT_KIND_DONE, ada, op).result == NC_RESULT_TIMED_OUT);
    CHECK(nc_room_rpc(ada, 999, "add", NULL, 0, 5000, &op) == NC_RESULT_OK);
    CHECK(wait_for(a, NC_EVENT_KIND_DONE, ada, op).result == NC_RESULT_UNKNOWN_PEER);
}

/* An object and its fields: both see the same, in the events and in the state. */
static void state(void) {
    NcOp op;
    uint64_t cup = nc_room_new_object_id(ada), version = 0;
    NcEntity object = {.scope = NC_SCOPE_OBJECT, .id = cup};
    NcChange changes[2] = {
        {.kind = NC_CHANGE_KIND_CREATE, .entity = object, .mode = NC_OBJECT_MODE_TAKE | NC_OBJECT_MODE_WITH_ROOM},
        {.kind = NC_CHANGE_KIND_SET, .entity = object, .key = "color"},
    };
    changes[1].value = (NcValue){.kind = NC_VALUE_KIND_TEXT, .bytes = {(const uint8_t *)"red", 3}};
    CHECK(nc_room_change(ada, changes, 2, &op) == NC_RESULT_OK);
    /* The object comes before the result. */
    CHECK(wait_for(a, NC_EVENT_KIND_OBJECT_CREATED, ada, 0).id == cup);
    NcEvent done = wait_for(a, NC_EVENT_KIND_DONE, ada, op);
    CHECK(done.result == NC_RESULT_OK && done.sequence > 0);
    NcEvent event = wait_for(b, NC_EVENT_KIND_OBJECT_CREATED, bob, 0);
    CHECK(event.id == cup && event.peer == nc_room_me(ada) && event.by == nc_room_me(ada));
    event = wait_for(b, NC_EVENT_KIND_FIELD_CHANGED, bob, 0);
    CHECK(event.entity.id == cup && text_is(event.name, "color") && text_is(event.value.bytes, "red"));

    NcValue field;
    uint8_t buffer[16];
    CHECK(nc_room_field(bob, object, "color", &field, buffer, sizeof buffer, &version) == NC_RESULT_OK);
    CHECK(field.kind == NC_VALUE_KIND_TEXT && text_is(field.bytes, "red") && version > 0);
    CHECK(nc_room_field(bob, object, "color", &field, buffer, 2, NULL) == NC_RESULT_BUFFER_TOO_SMALL);
    CHECK(field.bytes.len == 3 && field.bytes.data == NULL);
    CHECK(nc_room_field(bob, object, "size", &field, buffer, 2, NULL) == NC_RESULT_NOT_FOUND);
    NcChange claim = {.kind = NC_CHANGE_KIND_CLAIM, .entity = object};
    CHECK(nc_room_change(bob, &claim, 1, &op) == NC_RESULT_OK);
    CHECK(wait_for(b, NC_EVENT_KIND_DONE, bob, op).result == NC_RESULT_OK);
    CHECK(wait_for(a, NC_EVENT_KIND_OWNER_CHANGED, ada, 0).peer == nc_room_me(bob));
    /* The field has another version by now. */
    NcChange compare = {.kind = NC_CHANGE_KIND_COMPARE_AND_SET, .entity = object, .key = "color", .version = 999};
    compare.value = (NcValue){.kind = NC_VALUE_KIND_INTEGER, .integer = 1};
    CHECK(nc_room_change(bob, &compare, 1, &op) == NC_RESULT_OK);
    done = wait_for(b, NC_EVENT_KIND_DONE, bob, op);
    CHECK(done.result == NC_RESULT_REFUSED && done.code > 0 && done.payload.len > 0);
    uint8_t digests[2][32];
    uint64_t versions[2];
    CHECK(nc_room_state(ada, &versions[0], digests[0]) == NC_RESULT_OK);
    CHECK(nc_room_state(bob, &versions[1], digests[1]) == NC_RESULT_OK);
    CHECK(versions[0] == versions[1] && memcmp(digests[0], digests[1], 32) == 0);
    NcObject objects[2];
    CHECK(nc_room_objects(bob, objects, 2) == 1 && objects[0].id == cup && objects[0].owner == nc_room_me(bob));
    CHECK(objects[0].mode == (NC_OBJECT_MODE_TAKE | NC_OBJECT_MODE_WITH_ROOM));
}

/* Voice as Opus packets: played in order, once. */
static void voice(void) {
    uint8_t opus[1000];
    uint32_t step, packets = 0, speaker = nc_room_me(ada);
    int last = -1;
    double next = seconds();
    for (uint32_t i = 0; i < 100; i++) {
        CHECK(nc_room_send_voice(ada, NULL, 20, NC_VOICE_FLAG_SPEAKING, (const uint8_t *)&i, sizeof i) == NC_RESULT_OK);
        int len = nc_room_voice(bob, speaker, opus, sizeof opus, &step);
        CHECK(len >= 0 && (len > 0) == (step == NC_VOICE_STEP_PACKET));
        if (len > 0) {
            int number;
            CHECK(len == sizeof number);
            memcpy(&number, opus, sizeof number);
            CHECK(number > last);
            last = number;
            packets++;
        }
        for (next += 0.02; seconds() < next;) pause_ms(1);
    }
    CHECK(packets > 50);
    CHECK(nc_room_send_voice(ada, NULL, 200, 0, opus, 1) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_send_voice(ada, NULL, 20, 64, opus, 1) == NC_RESULT_INVALID_ARGUMENT);
    NcOp op;
    CHECK(nc_room_set_muted(ada, 1, &op) == NC_RESULT_OK);
    CHECK(wait_for(a, NC_EVENT_KIND_DONE, ada, op).result == NC_RESULT_OK);
    CHECK(wait_for(b, NC_EVENT_KIND_PEER_CHANGED, bob, 0).peer == speaker);
    NcPeer peer;
    CHECK(nc_room_peer(bob, speaker, &peer) == NC_RESULT_OK && (peer.flags & NC_PEER_FLAG_SELF_MUTED));
    CHECK(strcmp(peer.name, "ada") == 0 && strcmp(peer.user, "ada") == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    a = new_client();
    b = new_client();
    ada = join(a, argv[1], argv[2], "c");
    CHECK(nc_room_send_event(ada, NULL, 0, NULL, 0) == NC_RESULT_NOT_JOINED);
    NcEvent joined = wait_for(a, NC_EVENT_KIND_JOINED, ada, 0);
    CHECK(joined.peer == nc_room_me(ada) && text_is(joined.name, "c"));
    bob = join(b, argv[1], argv[3], "c");
    wait_for(b, NC_EVENT_KIND_JOINED, bob, 0);
    NcEvent other = wait_for(b, NC_EVENT_KIND_PEER_JOINED, bob, 0);
    CHECK(other.peer == nc_room_me(ada) && text_is(other.name, "ada"));
    CHECK(wait_for(a, NC_EVENT_KIND_PEER_JOINED, ada, 0).peer == nc_room_me(bob));
    uint32_t peers[2];
    CHECK(nc_room_peers(ada, peers, 2) == 1 && peers[0] == nc_room_me(bob) && nc_room_host(ada) == nc_room_me(ada));
    CHECK(nc_room_server_time_us(ada) > 0);

    poses();
    messages();
    rpcs();
    state();
    voice();

    NcConnection connection;
    CHECK(nc_room_connection(ada, &connection) == NC_RESULT_OK && connection.on_fallback == 0);
    static char ticket[16384];
    CHECK(nc_room_ticket(ada, ticket, 1) > 1);
    CHECK(nc_room_ticket(ada, ticket, sizeof ticket) == (int)strlen(ticket));
    CHECK(nc_room_leave(bob) == NC_RESULT_OK);
    CHECK(wait_for(b, NC_EVENT_KIND_CLOSED, bob, 0).code == 0);
    CHECK(nc_room_send_event(bob, NULL, 0, NULL, 0) == NC_RESULT_CLOSED);
    CHECK(wait_for(a, NC_EVENT_KIND_PEER_LEFT, ada, 0).code == 0);

    /* Who frees the room and the client at once is gone at once, too. */
    NcClient c = new_client();
    NcRoom gone = join(c, argv[1], argv[3], "c");
    wait_for(c, NC_EVENT_KIND_JOINED, gone, 0);
    wait_for(a, NC_EVENT_KIND_PEER_JOINED, ada, 0);
    double freed = seconds();
    CHECK(nc_room_free(gone) == NC_RESULT_OK && nc_client_free(c) == NC_RESULT_OK);
    CHECK(wait_for(a, NC_EVENT_KIND_PEER_LEFT, ada, 0).code == 0 && seconds() - freed < 5);
    /* A freed room has no events any more. */
    c = new_client();
    gone = join(c, argv[1], argv[3], "c");
    CHECK(nc_room_free(gone) == NC_RESULT_OK);
    NcEvent event;
    for (int i = 0; i < 50; i++, pause_ms(10)) CHECK(nc_poll(c, &event, 1) == 0);
    CHECK(nc_client_free(a) == NC_RESULT_OK && nc_client_free(b) == NC_RESULT_OK);
    CHECK(nc_client_free(c) == NC_RESULT_OK);
    printf("ok\n");
    return 0;
}
