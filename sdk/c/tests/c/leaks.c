/* A thousand clients that join and are freed, half of them while they still join: memory, threads and files
   stay as they are. Ends with a second thread that frees what the first one uses.
   Arguments: server, token. */
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>

#include "check.h"

enum { ROUNDS = 1000, WARM_UP = 100 };

static long files(void) {
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder);
    long count = 0;
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

/* Memory that is in use, in kB. What the allocator keeps for later is not counted. */
static long memory_in_use(void) {
    struct mallinfo2 info = mallinfo2();
    return (long)((info.uordblks + info.hblkhd) / 1024);
}

static void round_trip(const char *server, const char *token, int number) {
    /* A user does not join one room again and again: the server would slow the user down. */
    char name[32];
    snprintf(name, sizeof name, "room-%d", number);
    NcClient client = new_client();
    NcRoom room = join(client, server, token, name);
    if (number % 2 == 0) {
        wait_for(client, NC_EVENT_KIND_JOINED, room, 0);
        CHECK(nc_room_leave(room) == NC_RESULT_OK);
        wait_for(client, NC_EVENT_KIND_CLOSED, room, 0);
    } else {
        /* While it joins, at another moment each time. */
        pause_ms(number / 2 % 8);
    }
    if (number % 4 < 2) CHECK(nc_room_free(room) == NC_RESULT_OK);
    CHECK(nc_client_free(client) == NC_RESULT_OK);
}

/* Waits until the threads of freed clients have ended. */
static void settle(long threads) {
    for (int i = 0; i < 500 && process_status("Threads") > threads; i++) pause_ms(20);
}

static void *free_soon(void *client) {
    pause_ms(5);
    CHECK(nc_client_free(*(NcClient *)client) == NC_RESULT_OK);
    return NULL;
}

/* Uses a client while another thread frees it. */
static void contend(const char *server, const char *token) {
    NcClient client = new_client();
    NcRoom room = join(client, server, token, "contended");
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, free_soon, &client) == 0);
    NcEvent event;
    NcShownPose pose;
    NcPose own = {.head = {.rotation = {0, 0, 0, 1}}};
    int last = 0;
    for (double end = seconds() + 10; last != NC_RESULT_INVALID_HANDLE && seconds() < end;) {
        last = nc_poll(client, &event, 0);
        nc_room_poses(room, &pose, 1);
        nc_room_send_pose(room, NULL, 0, &own, NULL, 0);
        nc_room_send_event(room, NULL, 0, NULL, 0);
    }
    CHECK(last == NC_RESULT_INVALID_HANDLE);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    long before_threads = process_status("Threads");
    for (int i = 0; i < WARM_UP; i++) round_trip(argv[1], argv[2], i);
    settle(before_threads);
    long memory = memory_in_use(), descriptors = files();
    for (int i = 0; i < ROUNDS; i++) round_trip(argv[1], argv[2], WARM_UP + i);
    settle(before_threads);
    long threads_left = process_status("Threads") - before_threads;
    long memory_more = memory_in_use() - memory, files_more = files() - descriptors;
    for (int i = 0; i < 100; i++) contend(argv[1], argv[2]);
    settle(before_threads);
    printf("{\"rounds\": %d, \"threads_left\": %ld, \"memory_more_kib\": %ld, \"files_more\": %ld}\n",
           ROUNDS, threads_left, memory_more, files_more);
    return 0;
}
