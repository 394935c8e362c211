/* What a power failure takes from a database server.
 *
 * Put in front of a server with LD_PRELOAD, this writes down in the file $UNSYNCED_JOURNAL what every change to a file
 * below the directory $UNSYNCED_BELOW overwrites or cuts off, and what is synced. After a SIGKILL the files hold every
 * write; whoever undoes those that were never synced, newest first, has what a disk holds that lost its power
 * (journal.rs).
 *
 * Nothing is changed before its entry is complete, and one thread at a time notes and changes, so entries are in the
 * order of the changes. A sync counts for what was written before it began, and only once it has succeeded.
 *
 * This is what MariaDB 10.11 calls; power.rs has a test that finds what slips past. Not seen are the kernel's
 * asynchronous I/O, which has to be switched off, stdio, to which no database trusts its data, and O_TRUNC. Names are
 * durable at once: none change under load. O_SYNC is not believed: harder than life. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Followed by `saved` bytes. journal.rs reads it. */
struct entry {
    uint64_t inode;
    uint64_t sync;  /* 1: what the journal says of the inode before its byte `at` is durable. 0: a change. */
    uint64_t at;    /* Where it begins. */
    uint64_t count; /* How many bytes it writes; 0 when it changes the file's size alone. */
    uint64_t size;  /* The file's size before. */
    uint64_t saved; /* How many of the bytes from `at` on were there before. */
};

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static const char *directory;

__attribute__((constructor)) static void begin(void)
{
    directory = getenv("UNSYNCED_BELOW");
    const char *path = getenv("UNSYNCED_JOURNAL");
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (!directory || journal < 0)
        abort();
}

static int below_directory(int fd, struct stat *file)
{
    char link[32], path[4096];
    if (fstat(fd, file) || !S_ISREG(file->st_mode) || !file->st_nlink)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    size_t prefix = strlen(directory);
    return length > (ssize_t)prefix && !memcmp(path, directory, prefix) && path[prefix] == '/';
}

/* In one piece, or not at all as far as the reader is concerned. */
static void put(const void *bytes, size_t count)
{
    if (syscall(SYS_write, journal, bytes, count) != (ssize_t)count)
        abort();
}

/* The old bytes, whatever the descriptor itself is open for: writing alone, or O_DIRECT. */
static void read_old(int fd, void *to, uint64_t count, uint64_t at)
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int own = syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC);
    for (uint64_t done = 0; done < count;) {
        ssize_t got = pread(own, (char *)to + done, count - done, at + done);
        if (got <= 0)
            abort();
        done += got;
    }
    syscall(SYS_close, own);
}

/* As `at`: where write() writes. */
#define POSITION UINT64_MAX

static void note_change(int fd, uint64_t at, uint64_t count)
{
    struct stat file;
    fstat(fd, &file);
    if (at == POSITION)
        at = fcntl(fd, F_GETFL) & O_APPEND ? file.st_size : lseek(fd, 0, SEEK_CUR);
    struct entry entry = {file.st_ino, 0, at, count, file.st_size, 0};
    if (at < entry.size)
        entry.saved = count && count < entry.size - at ? count : entry.size - at;
    char *bytes = malloc(sizeof entry + entry.saved);
    if (!bytes)
        abort();
    memcpy(bytes, &entry, sizeof entry);
    read_old(fd, bytes + sizeof entry, entry.saved, at);
    put(bytes, sizeof entry + entry.saved);
    free(bytes);
}

/* Before a change; whether it is to a file of ours. Then no other begins until its end. */
static int begin_change(int fd, uint64_t at, uint64_t count)
{
    struct stat file;
    if (!below_directory(fd, &file))
        return 0;
    pthread_mutex_lock(&one_at_a_time);
    note_change(fd, at, count);
    return 1;
}

static long end_change(int ours, long result)
{
    if (ours)
        pthread_mutex_unlock(&one_at_a_time);
    return result;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    int ours = begin_change(fd, POSITION, count);
    return end_change(ours, syscall(SYS_write, fd, bytes, count));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    int ours = begin_change(fd, at, count);
    return end_change(ours, syscall(SYS_pwrite64, fd, bytes, count, at));
}

int ftruncate(int fd, off_t size)
{
    int ours = begin_change(fd, size, 0);
    return end_change(ours, syscall(SYS_ftruncate, fd, size));
}

/* Without a mode it cuts nothing off; a hole writes zeros. */
int fallocate(int fd, int mode, off_t at, off_t count)
{
    int ours = mode ? begin_change(fd, at, count) : begin_change(fd, INT64_MAX, 0);
    return end_change(ours, syscall(SYS_fallocate, fd, mode, at, count));
}

static void note_sync(ino_t inode, uint64_t before)
{
    struct entry entry = {inode, 1, before, 0, 0, 0};
    pthread_mutex_lock(&one_at_a_time);
    put(&entry, sizeof entry);
    pthread_mutex_unlock(&one_at_a_time);
}

/* The journal's length. */
static uint64_t now(void)
{
    pthread_mutex_lock(&one_at_a_time);
    uint64_t length = lseek(journal, 0, SEEK_END);
    pthread_mutex_unlock(&one_at_a_time);
    return length;
}

static int sync_with(long call, int fd)
{
    struct stat file;
    if (!below_directory(fd, &file))
        return syscall(call, fd);
    uint64_t begin = now();
    int result = syscall(call, fd);
    if (!result)
        note_sync(file.st_ino, begin);
    return result;
}

int fsync(int fd)
{
    return sync_with(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_with(SYS_fdatasync, fd);
}

/* The number of a file that is gone may become another's, with which its old entries must have nothing to do. */
int unlink(const char *path)
{
    struct stat file;
    if (!lstat(path, &file) && S_ISREG(file.st_mode))
        note_sync(file.st_ino, now());
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Writes through memory would be seen by nobody: as on a file system that cannot do it. */
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t at)
{
    struct stat file;
    if (fd >= 0 && protection & PROT_WRITE && flags & MAP_SHARED && below_directory(fd, &file)) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, at);
}

/* The same functions under the names that programs with large files call. */
ssize_t pwrite64(int, const void *, size_t, off64_t) __attribute__((alias("pwrite")));
int ftruncate64(int, off64_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off64_t, off64_t) __attribute__((alias("fallocate")));
void *mmap64(void *, size_t, int, int, int, off64_t) __attribute__((alias("mmap")));
