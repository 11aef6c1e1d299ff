/* One of the programs that do the same in Rust, C, C# and a browser, and check each other in one room.
   .ci/meeting.py starts them and compares their reports.
   Arguments: server, token, file, until, others. The program works until this unix time, in seconds. The
   file has what a process needs that continues after this one was killed. `others` is how many others
   come, by default 2. The report is one line of JSON. */
#include <math.h>

#include "check.h"
#include "meeting_report.h"

enum { FRAMES_PER_SECOND = 72, CHANNEL = 5, EVENTS = 64, ASKS = 64 };

/* In seconds. Nothing new is sent or asked in the last four. Everybody reports a second before the end,
   because the first one that leaves changes the state. A request ends before the report. */
static const double EVENT_EVERY = 0.1, ASK_EVERY = 0.25, QUIET = 4, REPORT = 1;
static const uint32_t ASK_TIMEOUT_MS = 2900;
/* All change the count at the same moments of the server's clock, so that they conflict. */
static const int64_t CHANGE_EVERY_US = 200000;
/* An error of a shown pose that is counted. Chords between poses of 72 Hz are much nearer. */
static const double LARGE_ERROR_MM = 60;
static const double TURN = 6.283185307179586;

struct Ask {
    NcOp op;
    uint64_t expected;
};

static struct Ask asks[ASKS];
static NcOp counting, creating;
static int others = 2, is_interrupted;

/* Where the head is at a moment of the server's clock. */
static void position(int64_t us, double at[3]) {
    double t = fmod((double)us / 1e6, TURN);
    at[0] = cos(t);
    at[1] = 1.7;
    at[2] = sin(t);
}

static void create_object(NcRoom room) {
    NcPeer info;
    CHECK(nc_room_peer(room, me, &info) == NC_RESULT_OK);
    NcEntity object = {.scope = NC_SCOPE_OBJECT, .id = nc_room_new_object_id(room)};
    NcChange changes[] = {
        {.kind = NC_CHANGE_KIND_CREATE, .entity = object, .mode = NC_OBJECT_MODE_TAKE | NC_OBJECT_MODE_WITH_ROOM},
        {.kind = NC_CHANGE_KIND_SET, .entity = object, .key = "user", .value = {.kind = NC_VALUE_KIND_TEXT}},
    };
    changes[1].value.bytes = (NcBytes){.data = (const uint8_t *)info.user, .len = (uint32_t)strlen(info.user)};
    CHECK(nc_room_change(room, changes, 2, &creating) == NC_RESULT_OK);
}

/* Reads the numbers of a text "run,number" or "number". Returns how many there are. */
static int numbers(NcBytes bytes, uint64_t *first, uint64_t *second) {
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)bytes.len, (const char *)bytes.data);
    return sscanf(text, "%" SCNu64 ",%" SCNu64, first, second);
}

static void take_message(const NcEvent *event) {
    uint64_t of_run, number;
    struct User *user = user_of(event->peer);
    CHECK(user && numbers(event->payload, &of_run, &number) == 2);
    count_event(user, of_run, number);
}

static void answer(const NcEvent *event) {
    uint64_t number, unused;
    char text[32] = "";
    uint16_t code = text_is(event->name, "double") ? 0 : 1;
    if (code == 0 && numbers(event->payload, &number, &unused) != 1) code = 256;
    if (code == 0) snprintf(text, sizeof text, "%" PRIu64, 2 * number);
    NcResult result = nc_room_answer(event->handle, event->id, code, (const uint8_t *)text, (uint32_t)strlen(text));
    /* A caller that no longer waits needs no answer. */
    CHECK(result == NC_RESULT_OK || result == NC_RESULT_NOT_FOUND);
}

static void take_answer(struct Ask *ask, const NcEvent *event) {
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, ask->expected);
    ask->op = 0;
    if (event->result == NC_RESULT_TIMED_OUT) timed_out++;
    else if (event->result == NC_RESULT_INTERRUPTED) interrupted++;
    else if (event->result != NC_RESULT_OK) other_failures++;
    else if (text_is(event->payload, text)) answered++;
    else wrong++;
}

/* The code of the server's refusal for a field that has another version by now. */
enum { CONFLICT = 62 };

static void take_done(const NcEvent *event) {
    for (int i = 0; i < ASKS; i++) {
        if (asks[i].op == event->op) {
            take_answer(&asks[i], event);
            return;
        }
    }
    int is_conflict = event->result == NC_RESULT_REFUSED && event->code == CONFLICT;
    if (event->op == counting) {
        counting = 0;
        successes += event->result == NC_RESULT_OK;
    } else {
        CHECK(event->op == creating);
    }
    conflicts += is_conflict;
    if (event->result != NC_RESULT_OK && !is_conflict) {
        fprintf(stderr, "a change failed: %.*s\n", (int)event->payload.len, event->payload.data);
        change_failures++;
    }
}

/* The room is a new instance: its peers have new ids, and its state is empty. */
static void rejoined(const NcEvent *event) {
    me = event->peer;
    is_interrupted = 0;
    rejoins++;
    successes = 0;
    for (int i = 0; i < user_count; i++) {
        users[i].peer = 0;
        users[i].shown_us = 0;
        /* Events that were on their way to a server that ended are lost. */
        users[i].may_miss = users[i].run > 0;
    }
    create_object(event->handle);
}

static void take(const NcEvent *event) {
    NcPeer info;
    switch (event->kind) {
    case NC_EVENT_KIND_JOINED:
        me = event->peer;
        if (me != peer_before) create_object(event->handle);
        break;
    case NC_EVENT_KIND_PEER_JOINED:
        if (nc_room_peer(event->handle, event->peer, &info) == NC_RESULT_OK) user_named(info.user)->peer = event->peer;
        break;
    case NC_EVENT_KIND_EVENT:
        if (event->channel == CHANNEL) take_message(event);
        break;
    case NC_EVENT_KIND_RPC_REQUEST:
        answer(event);
        break;
    case NC_EVENT_KIND_DONE:
        take_done(event);
        break;
    case NC_EVENT_KIND_INTERRUPTED:
        is_interrupted = 1;
        break;
    case NC_EVENT_KIND_REJOINED:
        rejoined(event);
        break;
    case NC_EVENT_KIND_RESUMED:
        is_interrupted = 0;
        gaps += event->flags & 1;
        break;
    case NC_EVENT_KIND_CLOCK_CHANGED:
        for (int i = 0; i < user_count; i++) users[i].shown_us = 0;
        break;
    case NC_EVENT_KIND_JOIN_FAILED:
    case NC_EVENT_KIND_CLOSED:
        fprintf(stderr, "closed: %.*s\n", (int)event->payload.len, event->payload.data);
        exit(1);
    default:
        break;
    }
}

static void poll_events(NcClient client, NcRoom room, const char *file) {
    NcEvent events[EVENTS];
    int total = 0, count;
    do {
        count = nc_poll(client, events, EVENTS);
        CHECK(count >= 0);
        for (int i = 0; i < count; i++) take(&events[i]);
        total += count;
    } while (count == EVENTS);
    if (total > 0 && me) {
        /* After the events of the frame were taken: the ticket says which ones. */
        CHECK(nc_room_ticket(room, ticket, sizeof ticket) > 0);
        save(file);
    }
}

static void move(NcRoom room) {
    double at[3];
    position(nc_room_server_time_us(room), at);
    NcPose pose = {.head = {.position = {(float)at[0], (float)at[1], (float)at[2]}, .rotation = {0, 0, 0, 1}}};
    CHECK(nc_room_send_pose(room, NULL, 0, &pose, NULL, 0) == NC_RESULT_OK);
}

/* Compares the shown poses with the truth at the moment that they show. */
static void look(NcRoom room) {
    NcShownPose poses[USERS];
    int count = nc_room_poses(room, poses, USERS);
    CHECK(count >= 0);
    frames++;
    for (int i = 0; i < count && i < USERS; i++) {
        struct User *user = user_of(poses[i].peer);
        /* A pose may be there a moment before its peer is reported. */
        if (!user) continue;
        user->seen++;
        backwards += poses[i].shown_us < user->shown_us;
        user->shown_us = poses[i].shown_us;
        /* Where a peer goes while it is not heard is a guess. */
        if (poses[i].certainty != NC_CERTAINTY_INTERPOLATED) continue;
        double truth[3], square = 0;
        position(poses[i].shown_us, truth);
        for (int axis = 0; axis < 3; axis++) square += pow(poses[i].pose.head.position[axis] - truth[axis], 2);
        double error_mm = sqrt(square) * 1000;
        compared++;
        over_60mm += error_mm > LARGE_ERROR_MM;
        max_error_mm = fmax(max_error_mm, error_mm);
    }
}

/* Whether something is to be done now. Sets when it is to be done next. */
static int is_due(double *next, double every) {
    double now = seconds();
    if (now < *next) return 0;
    *next = fmax(*next + every, now);
    return 1;
}

static void send_message(NcRoom room) {
    char text[64];
    snprintf(text, sizeof text, "%" PRIu64 ",%" PRIu64, run, sent++);
    CHECK(nc_room_send_event(room, NULL, CHANNEL, (const uint8_t *)text, (uint32_t)strlen(text)) == NC_RESULT_OK);
}

static void increase_count(NcRoom room) {
    NcEntity of = {.scope = NC_SCOPE_ROOM};
    NcValue value = {0};
    uint64_t version = 0;
    NcResult result = nc_room_field(room, of, "count", &value, NULL, 0, &version);
    CHECK(result == NC_RESULT_OK || result == NC_RESULT_NOT_FOUND);
    if (result == NC_RESULT_NOT_FOUND) version = 0;
    NcChange change = {.kind = NC_CHANGE_KIND_COMPARE_AND_SET, .entity = of, .key = "count", .version = version};
    change.value.kind = NC_VALUE_KIND_INTEGER;
    change.value.integer = (result == NC_RESULT_OK ? value.integer : 0) + 1;
    result = nc_room_change(room, &change, 1, &counting);
    CHECK(result == NC_RESULT_OK);
}

static void ask(NcRoom room, uint32_t peer) {
    uint64_t number = (uint64_t)(rand() % 1000000);
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, number);
    struct Ask *free_ask = NULL;
    for (int i = 0; i < ASKS && !free_ask; i++) {
        if (!asks[i].op) free_ask = &asks[i];
    }
    CHECK(free_ask);
    free_ask->expected = 2 * number;
    asked++;
    CHECK(nc_room_rpc(room, peer, "double", (const uint8_t *)text, (uint32_t)strlen(text), ASK_TIMEOUT_MS,
                      &free_ask->op) == NC_RESULT_OK);
}

static void act(NcRoom room) {
    static double next_event, next_ask;
    static int64_t last_change;
    uint32_t peers[USERS];
    int count = nc_room_peers(room, peers, USERS);
    CHECK(count >= 0);
    /* Everybody is here before the first event, so that nobody misses the number 0. */
    if (count >= others && is_due(&next_event, EVENT_EVERY)) send_message(room);
    int64_t change = nc_room_server_time_us(room) / CHANGE_EVERY_US;
    if (!counting && change != last_change) {
        last_change = change;
        increase_count(room);
    }
    if (count > 0 && is_due(&next_ask, ASK_EVERY)) ask(room, peers[rand() % count]);
}

static double unix_time(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    CHECK(argc == 5 || argc == 6);
    if (argc == 6) others = atoi(argv[5]);
    const char *file = argv[3];
    double until = strtod(argv[4], NULL);
    srand((unsigned)time(NULL));
    load(file);
    run++;
    /* Before the first event, so that no two processes send the events of one run. */
    save(file);
    NcClient client = new_client();
    NcConnect connect = {.size = sizeof connect, .server = argv[1], .token = argv[2]};
    connect.ticket = strcmp(ticket, "-") ? ticket : NULL;
    NcRoom room;
    CHECK(nc_connect(client, &connect, &room) == NC_RESULT_OK);
    int is_reported = 0;
    double next_frame = seconds(), last_frame = next_frame;
    for (double left = until - unix_time(); left > 0 || !is_reported; left = until - unix_time()) {
        longest_pause = fmax(longest_pause, seconds() - last_frame);
        last_frame = seconds();
        poll_events(client, room, file);
        if (me) {
            move(room);
            look(room);
            if (left > QUIET && !is_interrupted) act(room);
        }
        if (left <= REPORT && !is_reported) {
            is_reported = 1;
            CHECK(me);
            report(room);
        }
        /* A late frame is left out: two poses of the same moment are useless. */
        next_frame = fmax(next_frame + 1.0 / FRAMES_PER_SECOND, seconds());
        pause_ms((long)((next_frame - seconds()) * 1000 + 0.5));
    }
    CHECK(nc_room_leave(room) == NC_RESULT_OK);
    wait_for(client, NC_EVENT_KIND_CLOSED, room, 0);
    nc_client_free(client);
    return 0;
}
