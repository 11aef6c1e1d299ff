/* What meeting.c counts: the file for a later process, and the report. */
#ifndef MEETING_REPORT_H
#define MEETING_REPORT_H

#include <stddef.h>

#include "check.h"

enum { USERS = 8, TICKET = 16384 };

/* A user: what the file has of it, what was counted, and its movement. */
struct User {
    char name[132];
    uint32_t peer;
    uint64_t run, next;
    uint64_t received, seen;
    int64_t shown_us;
    /* Whether its next event may come after lost ones. */
    int may_miss;
};

static struct User users[USERS];
static int user_count;
static char ticket[TICKET] = "-";
static uint32_t peer_before, me;
static uint64_t run, successes;
static uint64_t frames, compared, over_60mm, backwards, sent, gaps, repeats, asked, answered, wrong;
static uint64_t timed_out, interrupted, other_failures, conflicts, change_failures, rejoins;
/* The longest pause is from one frame to the next. A long one tells of a machine that is too busy. */
static double max_error_mm, longest_pause;

static struct User *user_named(const char *name) {
    for (int i = 0; i < user_count; i++) {
        if (strcmp(users[i].name, name) == 0) return &users[i];
    }
    CHECK(user_count < USERS);
    struct User *user = &users[user_count++];
    snprintf(user->name, sizeof user->name, "%s", name);
    return user;
}

static struct User *user_of(uint32_t peer) {
    for (int i = 0; i < user_count; i++) {
        if (users[i].peer == peer) return &users[i];
    }
    return NULL;
}

/* Without a file, this is the first process. */
static void load(const char *file) {
    FILE *from = fopen(file, "r");
    if (!from) return;
    CHECK(fscanf(from, "%16383s %" SCNu32 " %" SCNu64 " %" SCNu64, ticket, &peer_before, &run, &successes) == 4);
    char name[132];
    uint64_t of_run, next;
    while (fscanf(from, "%131s %" SCNu64 " %" SCNu64, name, &of_run, &next) == 3) {
        struct User *user = user_named(name);
        user->run = of_run;
        user->next = next;
    }
    fclose(from);
}

/* Replaces the file in one step, so that a killed process leaves the old one or the new one. */
static void save(const char *file) {
    char fresh[1024];
    snprintf(fresh, sizeof fresh, "%s.new", file);
    FILE *to = fopen(fresh, "w");
    CHECK(to);
    fprintf(to, "%s\n%" PRIu32 " %" PRIu64 " %" PRIu64 "\n", ticket, me ? me : peer_before, run, successes);
    for (int i = 0; i < user_count; i++) {
        fprintf(to, "%s %" PRIu64 " %" PRIu64 "\n", users[i].name, users[i].run, users[i].next);
    }
    CHECK(fclose(to) == 0 && rename(fresh, file) == 0);
}

/* Checks that an event is the next one of its sender. A later run begins at 0; the end of a run that was
   killed may be missing, and so may events that were lost with a server. */
static void count_event(struct User *user, uint64_t of_run, uint64_t number) {
    user->received++;
    if (of_run > user->run) {
        user->run = of_run;
        user->next = 0;
    }
    if (of_run < user->run || number < user->next) {
        repeats++;
        return;
    }
    gaps += number > user->next && !user->may_miss;
    user->may_miss = 0;
    user->next = number + 1;
}

/* Prints an object with a number for each user. */
static void print_by_user(const char *key, size_t offset) {
    printf(", \"%s\": {", key);
    for (int i = 0; i < user_count; i++) {
        uint64_t number;
        memcpy(&number, (const char *)&users[i] + offset, sizeof number);
        printf("%s\"%s\": %" PRIu64, i ? ", " : "", users[i].name, number);
    }
    printf("}");
}

static void report(NcRoom room) {
    NcPeer info;
    NcConnection connection;
    NcValue count = {0};
    uint64_t version;
    uint8_t digest[32];
    CHECK(nc_room_peer(room, me, &info) == NC_RESULT_OK);
    CHECK(nc_room_connection(room, &connection) == NC_RESULT_OK);
    CHECK(nc_room_state(room, &version, digest) == NC_RESULT_OK);
    nc_room_field(room, (NcEntity){0}, "count", &count, NULL, 0, NULL);
    printf("{\"user\": \"%s\", \"peer\": %" PRIu32 ", \"run\": %" PRIu64, info.user, me, run);
    printf(", \"resumed\": %s, \"frames\": %" PRIu64, me == peer_before ? "true" : "false", frames);
    printf(", \"longest_pause_ms\": %.0f", longest_pause * 1000);
    print_by_user("seen", offsetof(struct User, seen));
    printf(", \"compared\": %" PRIu64 ", \"over_60mm\": %" PRIu64, compared, over_60mm);
    printf(", \"max_error_mm\": %f, \"backwards\": %" PRIu64 ", \"sent\": %" PRIu64, max_error_mm, backwards, sent);
    print_by_user("received", offsetof(struct User, received));
    printf(", \"records\": {");
    for (int i = 0; i < user_count; i++) {
        printf("%s\"%s\": [%" PRIu64 ", %" PRIu64 "]", i ? ", " : "", users[i].name, users[i].run, users[i].next);
    }
    printf("}, \"gaps\": %" PRIu64 ", \"repeats\": %" PRIu64, gaps, repeats);
    printf(", \"asked\": %" PRIu64 ", \"answered\": %" PRIu64 ", \"wrong\": %" PRIu64, asked, answered, wrong);
    printf(", \"ask_failures\": {\"timed_out\": %" PRIu64 ", \"interrupted\": %" PRIu64 ", \"other\": %" PRIu64 "}",
           timed_out, interrupted, other_failures);
    printf(", \"successes\": %" PRIu64 ", \"conflicts\": %" PRIu64, successes, conflicts);
    printf(", \"change_failures\": %" PRIu64 ", \"rejoined\": %" PRIu64, change_failures, rejoins);
    printf(", \"objects\": %" PRId32 ", \"version\": %" PRIu64, nc_room_objects(room, NULL, 0), version);
    printf(", \"digest\": \"");
    for (int i = 0; i < 32; i++) printf("%02x", digest[i]);
    const char *on_fallback = connection.on_fallback ? "true" : "false";
    printf("\", \"count\": %" PRId64 ", \"on_fallback\": %s}\n", count.integer, on_fallback);
    fflush(stdout);
}

#endif
