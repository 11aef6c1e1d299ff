/* What a frame costs at 72 Hz in a room with 50 others, of whom 12 speak: CPU time of the frame's thread, and
   time by the clock, in which other threads may run on the same core. Counts the allocations of the frame's
   thread by its own malloc.
   Arguments: server, file with 51 tokens, one a line. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { OTHERS = 50, SPEAKERS = 12, FRAMES = 72 * 10, WARM_UP = 72 * 4 };

/* glibc's own functions, below the names that this program replaces. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static _Thread_local long allocations = 0;

void *malloc(size_t size) {
    allocations++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations++;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    allocations++;
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocations++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    allocations++;
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : ENOMEM;
}

/* The others: they move at 72 Hz, and some speak, until the process is killed. */
static void be_the_others(const char *server, const char *name, char tokens[][2048]) {
    NcClient client = new_client();
    NcRoom rooms[OTHERS];
    for (int i = 0; i < OTHERS; i++) rooms[i] = join(client, server, tokens[i], name);
    double next = seconds();
    for (long frame = 0;; frame++) {
        NcEvent events[256];
        while (nc_poll(client, events, 256) == 256) continue;
        NcPose pose = {.head = {.position = {(float)(frame % 72), 1.7f, 0}, .rotation = {0, 0, 0, 1}}};
        for (int i = 0; i < OTHERS; i++) {
            nc_room_send_pose(rooms[i], NULL, 0, &pose, NULL, 0);
            /* Two of three frames: nearly 50 packets a second. */
            if (i < SPEAKERS && frame % 3 < 2) {
                nc_room_send_voice(rooms[i], NULL, 30, NC_VOICE_FLAG_SPEAKING, (const uint8_t *)events, 80);
            }
        }
        for (next += 1.0 / 72; seconds() < next;) pause_ms(1);
    }
}

/* CPU time of this thread, in seconds. */
static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    static char tokens[OTHERS + 1][2048];
    FILE *file = fopen(argv[2], "r");
    CHECK(file);
    for (int i = 0; i <= OTHERS; i++) {
        CHECK(fgets(tokens[i], sizeof tokens[i], file));
        tokens[i][strcspn(tokens[i], "\n")] = 0;
    }
    fclose(file);
    /* A room of its own: the others of an earlier run may still be in theirs. */
    char name[32];
    snprintf(name, sizeof name, "frame-%ld", (long)getpid());
    pid_t others = fork();
    CHECK(others >= 0);
    if (others == 0) be_the_others(argv[1], name, tokens);

    NcClient client = new_client();
    NcRoom room = join(client, argv[1], tokens[OTHERS], name);
    wait_for(client, NC_EVENT_KIND_JOINED, room, 0);
    static double costs[FRAMES], times[FRAMES];
    uint32_t peers[64];
    long allocated = 0, seen = 0, heard = 0;
    double next = seconds(), next_sound = next;
    for (int frame = -WARM_UP; frame < FRAMES; frame++) {
        static NcEvent events[256];
        static NcShownPose poses[64];
        uint8_t opus[1000];
        NcPose pose = {.head = {.position = {0, 1.7f, 0}, .rotation = {0, 0, 0, 1}}};
        int others_count = frame % 72 ? 0 : nc_room_peers(room, peers, 64);
        static int count = 0;
        if (others_count > 0) count = others_count;
        long before = allocations;
        double begun = seconds(), begun_cpu = cpu_seconds();
        nc_poll(client, events, 256);
        int shown = nc_room_poses(room, poses, 64);
        nc_room_send_pose(room, NULL, 0, &pose, NULL, 0);
        for (; next_sound <= begun; next_sound += 0.02) {
            for (int i = 0; i < count; i++) {
                uint32_t step = 0;
                nc_room_voice(room, peers[i], opus, sizeof opus, &step);
                heard += frame >= 0 && step == NC_VOICE_STEP_PACKET;
            }
        }
        if (frame >= 0) {
            costs[frame] = cpu_seconds() - begun_cpu;
            times[frame] = seconds() - begun;
            allocated += allocations - before;
            seen += shown;
        }
        for (next += 1.0 / 72; seconds() < next;) pause_ms(1);
    }
    kill(others, SIGKILL);
    waitpid(others, NULL, 0);
    qsort(costs, FRAMES, sizeof *costs, compare);
    qsort(times, FRAMES, sizeof *times, compare);
    printf("{\"frames\": %d, \"cpu_median_us\": %.1f, \"cpu_p99_us\": %.1f, \"clock_median_us\": %.1f, "
           "\"clock_p99_us\": %.1f, \"allocations\": %ld, \"poses_a_frame\": %.1f, \"voice_packets\": %ld}\n",
           FRAMES, costs[FRAMES / 2] * 1e6, costs[FRAMES * 99 / 100] * 1e6, times[FRAMES / 2] * 1e6,
           times[FRAMES * 99 / 100] * 1e6, allocated,
           (double)seen / FRAMES, heard);
    CHECK(nc_client_free(client) == NC_RESULT_OK);
    return 0;
}
