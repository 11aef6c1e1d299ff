/* What the C tests share: checks that end the program, and waiting for events. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "nucleus.h"

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            char text_[512];                                                                   \
            nc_last_error(text_, sizeof text_);                                                \
            fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #condition, text_); \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void pause_ms(long ms) {
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static inline NcClient new_client(void) {
    NcConfig config = {.size = sizeof config, .abi_version = NC_ABI_VERSION};
    NcClient client = 0;
    CHECK(nc_client_new(&config, &client) == NC_RESULT_OK && client != 0);
    return client;
}

static inline NcRoom join(NcClient client, const char *server, const char *token, const char *room_name) {
    NcConnect connect = {.size = sizeof connect, .server = server, .token = token, .room = room_name};
    connect.capacity = 64;
    NcRoom room = 0;
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_OK && room != 0);
    return room;
}

/* Whether an event is the one that is waited for: of this kind, room and request; 0 stands for any. */
static inline int fits(const NcEvent *event, uint32_t kind, uint64_t handle, NcOp op) {
    return event->kind == kind && (!handle || event->handle == handle) && (!op || event->op == op);
}

/* Waits for an event, and skips all others. The event is valid until the client is polled again. */
static inline NcEvent wait_for(NcClient client, uint32_t kind, uint64_t handle, NcOp op) {
    for (double end = seconds() + 20; seconds() < end; pause_ms(1)) {
        NcEvent event;
        while (nc_poll(client, &event, 1) == 1) {
            if (fits(&event, kind, handle, op)) return event;
            if (event.kind == NC_EVENT_KIND_JOIN_FAILED) {
                fprintf(stderr, "not joined: %.*s\n", (int)event.payload.len, event.payload.data);
                exit(1);
            }
        }
    }
    fprintf(stderr, "no event of kind %" PRIu32 "\n", kind);
    exit(1);
}

static inline int text_is(NcBytes bytes, const char *text) {
    return bytes.len == strlen(text) && memcmp(bytes.data, text, bytes.len) == 0;
}

/* A number of /proc/self/status, for example of threads, or of kB of memory. */
static inline long process_status(const char *what) {
    FILE *status = fopen("/proc/self/status", "r");
    CHECK(status);
    char line[256];
    long number = -1;
    while (fgets(line, sizeof line, status)) {
        if (strncmp(line, what, strlen(what)) == 0) number = strtol(line + strlen(what) + 1, NULL, 10);
    }
    fclose(status);
    return number;
}

#endif
