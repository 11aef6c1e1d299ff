/* A library that the tests load into the server in front of the C library. It makes the disk, the
 * clock, hard links and single threads misbehave as the file NUCLEUS_SHIM says, which a test can change at any time.
 * Files count as "on the disk" if their path begins with NUCLEUS_SHIM_DIR. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The content of the file. tests/broken/shim.rs has the same layout. */
struct control {
    int64_t clock_offset_s;
    int32_t disk; /* 0: well, 1: full, 2: read-only, 3: hangs */
    int32_t no_links;
    char hanging[16]; /* the name of the threads that hang; empty: none */
};

enum { FULL = 1, READ_ONLY = 2, HANGS = 3 };

static volatile struct control *control;
static const char *dir;
/* Which file descriptors are files on the disk. */
static unsigned char on_disk[65536];

__attribute__((constructor)) static void start(void) {
    int fd = open(getenv("NUCLEUS_SHIM"), O_RDONLY | O_CLOEXEC);
    void *map = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
    if (fd < 0 || map == MAP_FAILED) abort();
    close(fd);
    dir = getenv("NUCLEUS_SHIM_DIR");
    control = map;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int is_on_disk(const char *path) {
    return control && dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static void wait_while_it_hangs(void) {
    while (control && control->disk == HANGS) usleep(10000);
}

/* Returns an error for a call that changes the directory of a file on the disk; 0 for none. */
static int fault(const char *path) {
    if (!is_on_disk(path)) return 0;
    wait_while_it_hangs();
    return control->disk == READ_ONLY ? EROFS : 0;
}

#define REFUSE(path)            \
    do {                        \
        int error = fault(path);\
        if (error) {            \
            errno = error;      \
            return -1;          \
        }                       \
    } while (0)

static int opened(const char *path, int fd) {
    if (fd >= 0 && fd < (int)sizeof on_disk) on_disk[fd] = is_on_disk(path);
    return fd;
}

static int writes(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT);
}

int open64(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (writes(flags)) REFUSE(path);
    return opened(path, NEXT(open64)(path, flags, mode));
}

ssize_t write(int fd, const void *bytes, size_t len) {
    if (control && fd >= 0 && fd < (int)sizeof on_disk && on_disk[fd]) {
        wait_while_it_hangs();
        if (control->disk == FULL) {
            errno = ENOSPC;
            return -1;
        }
    }
    return NEXT(write)(fd, bytes, len);
}

int close(int fd) {
    if (fd >= 0 && fd < (int)sizeof on_disk) on_disk[fd] = 0;
    return NEXT(close)(fd);
}

int rename(const char *from, const char *to) {
    REFUSE(to);
    return NEXT(rename)(from, to);
}

int unlink(const char *path) {
    REFUSE(path);
    return NEXT(unlink)(path);
}

int mkdir(const char *path, mode_t mode) {
    REFUSE(path);
    return NEXT(mkdir)(path, mode);
}

int link(const char *from, const char *to) {
    REFUSE(to);
    if (control && control->no_links) {
        errno = EPERM;
        return -1;
    }
    return NEXT(link)(from, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    REFUSE(to);
    if (control && control->no_links) {
        errno = EPERM;
        return -1;
    }
    return NEXT(linkat)(from_dir, from, to_dir, to, flags);
}

/* Every thread reads the clock before it waits for work and after that. */
static void hang_if_told(void) {
    char name[16];
    if (!control || !control->hanging[0]) return;
    if (pthread_getname_np(pthread_self(), name, sizeof name)) return;
    while (strncmp(name, (const char *)control->hanging, sizeof name) == 0) usleep(10000);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    hang_if_told();
    int result = NEXT(clock_gettime)(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME && control) time->tv_sec += control->clock_offset_s;
    return result;
}

/* The kernel stamps datagrams with the real clock, which this library does not change. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    if (level == SOL_SOCKET && name == SO_TIMESTAMPNS) return 0;
    return NEXT(setsockopt)(fd, level, name, value, len);
}
