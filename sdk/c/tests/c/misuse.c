/* Everything that a caller can do wrong is an error, and nothing worse.
   Arguments: server, token. */
#include "check.h"

static NcResult connect_with(NcClient client, const char *server, const char *token) {
    NcConnect connect = {.size = sizeof connect, .server = server, .token = token};
    NcRoom room;
    return nc_connect(client, &connect, &room);
}

/* Joins, and returns how the join ended. */
static NcEvent outcome(NcClient client, const char *server, const char *token, const char *ca) {
    NcConnect connect = {.size = sizeof connect, .server = server, .token = token, .ca_pem = ca};
    NcRoom room;
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_OK);
    return wait_for(client, NC_EVENT_KIND_JOIN_FAILED, room, 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    const char *server = argv[1], *token = argv[2];
    char text[256];
    CHECK(nc_abi_version() == NC_ABI_VERSION && strlen(nc_version()) > 0);

    /* Clients. */
    NcClient client = 0;
    NcConfig config = {.size = sizeof config, .abi_version = NC_ABI_VERSION + 1};
    CHECK(nc_client_new(&config, &client) == NC_RESULT_ABI_MISMATCH);
    CHECK(nc_last_error(text, sizeof text) > 0 && strstr(text, "ABI"));
    CHECK(nc_last_error(text, 4) > 4 && strlen(text) == 3);
    CHECK(nc_last_error(NULL, 100) > 0);
    CHECK(nc_client_new(NULL, &client) == NC_RESULT_INVALID_ARGUMENT);
    config.abi_version = NC_ABI_VERSION;
    CHECK(nc_client_new(&config, NULL) == NC_RESULT_INVALID_ARGUMENT);
    config.size = 0;
    CHECK(nc_client_new(&config, &client) == NC_RESULT_INVALID_ARGUMENT);
    config.size = 0xffffffff;
    CHECK(nc_client_new(&config, &client) == NC_RESULT_INVALID_ARGUMENT);
    client = new_client();

    /* Numbers of nothing, and of something else. */
    NcEvent events[2];
    NcShownPose poses[2];
    CHECK(nc_poll(0, events, 2) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_poll(client + 1000, events, 2) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_poll(client, NULL, 2) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_poll(client, NULL, 0) == 0 && nc_poll(client, events, -1) == 0);
    CHECK(nc_room_poses(client, poses, 2) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_room_leave(0) == NC_RESULT_INVALID_HANDLE && nc_room_free(client) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_room_me(7777) == 0 && nc_room_server_time_us(7777) == -1 && nc_room_new_object_id(7777) == 0);
    CHECK(nc_social_free(client) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_social_call_act(client, 1, 0, NULL, NULL) == NC_RESULT_INVALID_HANDLE);

    /* Arguments of a join. */
    CHECK(connect_with(client, NULL, token) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(connect_with(client, server, NULL) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(connect_with(client, server, "\xff\xfe") == NC_RESULT_INVALID_ARGUMENT);
    CHECK(connect_with(client + 1000, server, token) == NC_RESULT_INVALID_HANDLE);
    NcConnect connect = {.size = sizeof connect, .server = server, .token = token, .mode = 77};
    NcRoom room;
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_INVALID_ARGUMENT);
    connect.mode = 0;
    CHECK(nc_connect(client, &connect, NULL) == NC_RESULT_INVALID_ARGUMENT);
    connect.filter_count = 3;
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_INVALID_ARGUMENT);
    connect.filter_count = 0;
    connect.ticket = "no ticket";
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_INVALID_ARGUMENT);
    connect.ticket = NULL;
    connect.ca_pem = "no certificate";
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_INVALID_ARGUMENT);
    connect.ca_pem = NULL;
    connect.room_flags = 1u << 31;
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_INVALID_ARGUMENT);

    /* Joins that fail, with a reason. */
    NcEvent failed = outcome(client, server, "no token", NULL);
    CHECK(failed.result == NC_RESULT_INVALID_ARGUMENT && failed.payload.len > 0);
    failed = outcome(client, server, "e30.e30.c2ln", NULL);
    CHECK(failed.result == NC_RESULT_UNTRUSTED || failed.result == NC_RESULT_REFUSED);
    CHECK(failed.payload.len > 0);
    failed = outcome(client, "name.invalid:5055", token, NULL);
    CHECK(failed.result == NC_RESULT_UNREACHABLE && failed.code == -1);
    CHECK(outcome(client, "127.0.0.1:99999", token, NULL).result == NC_RESULT_UNREACHABLE);

    /* More rooms than a client may have. */
    NcRoom rooms[80];
    int count = 0;
    for (int i = 0; i < 80; i++) {
        NcConnect one = {.size = sizeof one, .server = "192.0.2.1:9", .token = token};
        NcResult result = nc_connect(client, &one, &rooms[count]);
        CHECK(result == NC_RESULT_OK || result == NC_RESULT_WOULD_BLOCK);
        count += result == NC_RESULT_OK;
    }
    CHECK(count > 50 && count <= 64);
    for (int i = 0; i < count; i++) CHECK(nc_room_free(rooms[i]) == NC_RESULT_OK);
    CHECK(nc_room_free(rooms[0]) == NC_RESULT_INVALID_HANDLE);

    /* Free twice, and use what was freed. */
    NcRoom joined = join(client, server, token, "c");
    wait_for(client, NC_EVENT_KIND_JOINED, joined, 0);
    CHECK(nc_room_send_event(joined, NULL, 0, NULL, 5) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_voice(joined, 1, NULL, 100, NULL) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_send_pose(joined, NULL, 0, NULL, NULL, 0) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_answer(joined, 12345, 0, NULL, 0) == NC_RESULT_NOT_FOUND);
    CHECK(nc_room_change(joined, NULL, 0, NULL) == NC_RESULT_INVALID_ARGUMENT);
    NcChange change = {.kind = NC_CHANGE_KIND_SET, .key = "k"};
    change.value = (NcValue){.kind = NC_VALUE_KIND_FLOAT, .number = 0.0 / 0.0};
    CHECK(nc_room_change(joined, &change, 1, NULL) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_moderate(joined, 999, 0, 0, NULL) == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_room_rpc(joined, 1, "", NULL, 0, 1000, NULL) == NC_RESULT_OK);
    CHECK(wait_for(client, NC_EVENT_KIND_DONE, joined, 0).result == NC_RESULT_INVALID_ARGUMENT);
    CHECK(nc_client_free(client) == NC_RESULT_OK);
    CHECK(nc_client_free(client) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_room_free(joined) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_room_poses(joined, poses, 2) == NC_RESULT_INVALID_HANDLE);
    CHECK(nc_poll(client, events, 2) == NC_RESULT_INVALID_HANDLE);
    printf("ok\n");
    return 0;
}
