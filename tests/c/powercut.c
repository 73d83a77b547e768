/* Cuts the power of a file system: what was not synced is gone, as on a disk without battery.
 *
 * powercut FOLDER: says "armed", waits for a byte on standard input, and issues the shutdown ioctl
 * without a flush of the journal on the file system of FOLDER. Started early, so that the cut
 * itself takes microseconds.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* linux/fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH; no header has them everywhere. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2

int main(int argc, char **argv) {
    char byte;
    uint32_t how = NO_LOG_FLUSH;
    if (argc != 2) {
        fputs("usage: powercut FOLDER\n", stderr);
        return 2;
    }
    int fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        perror(argv[1]);
        return 1;
    }
    puts("armed");
    fflush(stdout);
    if (read(STDIN_FILENO, &byte, 1) != 1) {
        return 1;
    }
    if (ioctl(fd, SHUTDOWN, &how) != 0) {
        perror("shutdown of the file system");
        return 1;
    }
    return 0;
}
