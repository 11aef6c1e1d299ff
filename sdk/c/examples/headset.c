/*
 * A headset without a display: it joins a room, moves its head in a circle, and prints what it sees and
 * hears of the others. Ctrl-C ends it.
 *
 *     cc headset.c $(pkg-config --cflags --libs nucleus) -lm -o headset
 *     ./headset 127.0.0.1:5055 "$TOKEN" Ada
 *
 * A further argument is a file for the ticket of its session: started again after a crash, the headset is
 * the same peer as before. With `--tone` behind that it speaks a tone, if the library has Opus.
 */
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "nucleus.h"

enum { EVENTS = 64, PEERS = 64, FRAMES_A_SECOND = 72, SAMPLES = 960 };

static volatile sig_atomic_t is_over = 0;

static void stop(int number) {
    (void)number;
    is_over = 1;
}

/* Prints why a call failed. */
static int failed(const char *what) {
    char text[512];
    nc_last_error(text, sizeof text);
    fprintf(stderr, "%s: %s\n", what, text);
    return 1;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static void sleep_until(double at) {
    double left = at - seconds();
    if (left > 0) {
        struct timespec pause = {.tv_sec = (time_t)left, .tv_nsec = (long)(fmod(left, 1.0) * 1e9)};
        nanosleep(&pause, NULL);
    }
}

/* Reads the ticket of an earlier process. */
static const char *read_ticket(const char *file, char *ticket, size_t size) {
    FILE *from = file ? fopen(file, "r") : NULL;
    if (!from) return NULL;
    size_t len = fread(ticket, 1, size - 1, from);
    fclose(from);
    ticket[len] = 0;
    return len > 0 ? ticket : NULL;
}

/* Writes the ticket to a new file, and replaces the old one. */
static void write_ticket(NcRoom room, const char *file) {
    static char ticket[16384];
    char fresh[1024];
    if (!file || nc_room_ticket(room, ticket, sizeof ticket) <= 0) return;
    snprintf(fresh, sizeof fresh, "%s.new", file);
    FILE *to = fopen(fresh, "w");
    if (!to) return;
    int written = fputs(ticket, to) >= 0;
    if (fclose(to) == 0 && written) rename(fresh, file);
}

/* Prints an event. Returns whether it is the room's last one. */
static int take(const NcEvent *event) {
    int name_len = (int)event->name.len, text_len = (int)event->payload.len;
    const char *name = (const char *)event->name.data, *text = (const char *)event->payload.data;
    switch (event->kind) {
    case NC_EVENT_KIND_JOINED:
        printf("joined %.*s as peer %" PRIu32 "\n", name_len, name, event->peer);
        break;
    case NC_EVENT_KIND_JOIN_FAILED:
    case NC_EVENT_KIND_CLOSED:
        printf("the room is closed: %.*s\n", text_len, text);
        return 1;
    case NC_EVENT_KIND_PEER_JOINED:
        printf("%.*s (peer %" PRIu32 ") is here\n", name_len, name, event->peer);
        break;
    case NC_EVENT_KIND_PEER_LEFT:
        printf("%.*s (peer %" PRIu32 ") has left\n", name_len, name, event->peer);
        break;
    case NC_EVENT_KIND_EVENT:
        printf("peer %" PRIu32 " says %.*s\n", event->peer, text_len, text);
        break;
    case NC_EVENT_KIND_SPEAKING:
        printf("peer %" PRIu32 " %s\n", event->peer, event->flags ? "speaks" : "is silent");
        break;
    case NC_EVENT_KIND_RPC_REQUEST:
        /* Without an answer the other peer waits until its time is over. */
        nc_room_answer(event->handle, event->id, 1, NULL, 0);
        break;
    case NC_EVENT_KIND_INTERRUPTED:
        printf("interrupted: %.*s\n", text_len, text);
        break;
    case NC_EVENT_KIND_RESUMED:
        printf("back\n");
        break;
    case NC_EVENT_KIND_REJOINED:
        printf("back as peer %" PRIu32 "\n", event->peer);
        break;
    default:
        break;
    }
    return 0;
}

/* Sends where this head is: on a circle of a metre around the origin, once in six seconds. */
static void move(NcRoom room) {
    double angle = nc_room_server_time_us(room) / 1e6;
    NcPose pose = {0};
    pose.head.position[0] = (float)cos(angle);
    pose.head.position[1] = 1.7f;
    pose.head.position[2] = (float)sin(angle);
    pose.head.rotation[1] = (float)sin(-angle / 2);
    pose.head.rotation[3] = (float)cos(-angle / 2);
    nc_room_send_pose(room, NULL, 0, &pose, NULL, 0);
}

/* Prints where the others are. */
static void look(NcRoom room) {
    NcShownPose poses[PEERS];
    int count = nc_room_poses(room, poses, PEERS);
    for (int i = 0; i < count; i++) {
        const float *head = poses[i].pose.head.position;
        printf("peer %" PRIu32 " is at %.2f %.2f %.2f\n", poses[i].peer, head[0], head[1], head[2]);
    }
}

/* Plays 20 ms of everybody. Returns how many speak. */
static int hear(NcRoom room) {
    uint32_t peers[PEERS];
    float samples[SAMPLES];
    uint8_t opus[1000];
    int speaking = 0, count = nc_room_peers(room, peers, PEERS);
    for (int i = 0; i < count && i < PEERS; i++) {
        uint32_t step = NC_VOICE_STEP_SILENCE;
        /* An application mixes the samples, and hands them to the sound device. */
        if (nc_room_play(room, peers[i], samples, SAMPLES, &step) == NC_RESULT_NOT_OFFERED) {
            nc_room_voice(room, peers[i], opus, sizeof opus, &step);
        }
        speaking += step == NC_VOICE_STEP_PACKET;
    }
    return speaking;
}

static void speak(NcRoom room, long packet) {
    float samples[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        samples[i] = 0.3f * sinf(6.2831853f * 440.0f * (float)((packet * SAMPLES + i) % 48000) / 48000.0f);
    }
    nc_room_speak(room, NULL, samples, SAMPLES);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: headset SERVER TOKEN [NAME [TICKET-FILE [--tone]]]\n");
        return 2;
    }
    const char *ticket_file = argc > 4 ? argv[4] : NULL;
    int has_tone = argc > 5 && strcmp(argv[5], "--tone") == 0;
    signal(SIGINT, stop);
    signal(SIGTERM, stop);

    NcConfig config = {.size = sizeof config, .abi_version = NC_ABI_VERSION};
    NcClient client;
    if (nc_client_new(&config, &client) != NC_RESULT_OK) return failed("no client");
    static char ticket[16384];
    NcConnect connect = {.size = sizeof connect, .server = argv[1], .token = argv[2]};
    connect.name = argc > 3 ? argv[3] : NULL;
    connect.ticket = read_ticket(ticket_file, ticket, sizeof ticket);
    NcRoom room;
    if (nc_connect(client, &connect, &room) != NC_RESULT_OK) return failed("cannot join");

    int is_closed = 0, has_left = 0;
    long packets = 0;
    double next_look = seconds() + 1, next_sound = seconds();
    for (double frame = seconds(); !is_closed; frame += 1.0 / FRAMES_A_SECOND) {
        NcEvent events[EVENTS];
        int count = nc_poll(client, events, EVENTS);
        for (int i = 0; i < count; i++) is_closed |= take(&events[i]);
        if (is_over && !has_left) {
            has_left = 1;
            /* While the room is still being joined there is nobody to say goodbye to. */
            if (nc_room_leave(room) != NC_RESULT_OK) break;
        }
        move(room);
        for (; next_sound <= frame; next_sound += 0.02) {
            hear(room);
            if (has_tone) speak(room, packets++);
        }
        if (frame >= next_look) {
            next_look += 1;
            look(room);
            write_ticket(room, ticket_file);
            fflush(stdout);
        }
        sleep_until(frame);
    }
    nc_client_free(client);
    return 0;
}
