/* A threaded service of event streams with one behaviour, by its name. usage: service PORT BEHAVIOUR */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *behaviour;
static char *volatile kept; /* else the compiler leaves the leak out */
static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
static const char full[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
static pthread_attr_t small;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* helpers-98: a job for each stream; 14 more helpers, at most once a second, when more jobs wait than helpers exist */
static pthread_cond_t wanted = PTHREAD_COND_INITIALIZER;
static int jobs, helpers;
static time_t grown;

static void *help(void *unused) {
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!jobs) pthread_cond_wait(&wanted, &lock);
        jobs--;
        pthread_mutex_unlock(&lock);
        usleep(120000);
    }
    return NULL;
}

static void ask_helpers(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&lock);
    if (++jobs > helpers && helpers < 98 && now.tv_sec > grown) {
        grown = now.tv_sec;
        for (int index = 0; index < 14; index++) {
            pthread_t thread;
            if (!pthread_create(&thread, &small, help, NULL)) helpers++;
        }
    }
    pthread_cond_signal(&wanted);
    pthread_mutex_unlock(&lock);
}

/* churn: every stream allocates and frees blocks of many sizes, its own and those of a table that all share */
#define SHARED 3000
#define OWN 24
static char *shared[SHARED];

static char *block(unsigned *seed, unsigned from, unsigned to) {
    unsigned size = from + (unsigned)rand_r(seed) % (to - from);
    char *made = malloc(size);
    if (made) memset(made, 1, size);
    return made;
}

static void churn(unsigned *seed, char **own) {
    int mine = rand_r(seed) % OWN;
    free(own[mine]);
    own[mine] = block(seed, 64, 48000);
    for (int index = 0; index < 10; index++) {
        char *new = block(seed, 500, 9000);
        pthread_mutex_lock(&lock);
        char **slot = &shared[rand_r(seed) % SHARED], *old = *slot;
        *slot = new;
        pthread_mutex_unlock(&lock);
        free(old);
    }
}

/* roster: a broadcast every 5 ms to a list that nobody is ever removed from */
struct member {
    int client; /* -1 once it is gone */
    char agent[120];
    struct member *next;
};
static struct member *roster;

static void *broadcast(void *unused) {
    (void)unused;
    for (unsigned long tick = 0;; tick++) {
        usleep(5000);
        pthread_mutex_lock(&lock);
        for (struct member *one = roster; one; one = one->next) {
            char event[256];
            int length = snprintf(event, sizeof event, "id: %lu\ndata: {\"at\": %.3f, \"for\": \"%.60s\"}\n\n", tick,
                                  (double)tick * 0.005, one->agent);
            if (one->client >= 0 && tick % 20 == 0) (void)send(one->client, event, (size_t)length, MSG_DONTWAIT);
        }
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void join_roster(int client, const char *request) {
    struct member *one = calloc(1, sizeof *one);
    if (!one) return;
    one->client = client;
    snprintf(one->agent, sizeof one->agent, "%.100s", request);
    pthread_mutex_lock(&lock);
    one->next = roster;
    roster = one;
    pthread_mutex_unlock(&lock);
    char byte[512];
    while (recv(client, byte, sizeof byte, 0) > 0) {}
    pthread_mutex_lock(&lock);
    one->client = -1;
    pthread_mutex_unlock(&lock);
}

/* slabs-96: the memory of a stream is a slab of 96 kB; a slab that is free serves the next stream and is never unmapped */
#define SLAB 98304
struct slab {
    struct slab *next;
    char used[SLAB - sizeof(struct slab *)];
};
static struct slab *slabs;

static struct slab *take_slab(void) {
    pthread_mutex_lock(&lock);
    struct slab *one = slabs;
    if (one) slabs = one->next;
    pthread_mutex_unlock(&lock);
    if (one) return one;
    one = mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return one == MAP_FAILED ? NULL : one;
}

static void give_slab(struct slab *one) {
    if (!one) return;
    pthread_mutex_lock(&lock);
    one->next = slabs;
    slabs = one;
    pthread_mutex_unlock(&lock);
}

/* metrics-64: 64 kB a second */
struct sample {
    struct sample *next;
    char text[2552];
};
static struct sample *volatile samples;

static void *sample(void *unused) {
    (void)unused;
    for (unsigned long tick = 0;; tick++) {
        struct sample *one = malloc(sizeof *one);
        if (one) {
            memset(one->text, (int)(tick % 251), sizeof one->text);
            one->next = samples;
            samples = one;
        }
        usleep(40000);
    }
    return NULL;
}

/* half-close: a client that still reads gets the rest of the events from a spill file, which nobody closes */
static void finish_half_closed(int client) {
    static const char last[] = "event: closing\ndata: soon\n\n";
    struct pollfd one = {client, 0, 0};
    if (send(client, last, sizeof last - 1, 0) < 0 || poll(&one, 1, 250) != 0) return; /* it has closed both ways */
    if (open("/dev/zero", O_RDONLY) < 0) return;
    for (int number = 0; number < 40 && send(client, last, sizeof last - 1, 0) > 0; number++) usleep(100000);
}

/* zombies-9: a child for every ninth stream, which nobody waits for */
static int numbered; /* streams, under the lock */

static int next_number(void) {
    pthread_mutex_lock(&lock);
    int number = ++numbered;
    pthread_mutex_unlock(&lock);
    return number;
}

static void run_hook(int number) {
    if (number % 9 == 0 && fork() == 0) _exit(0);
}

/* mapped-5: every fifth stream maps a temporary file, which is deleted and closed, and never unmapped */
static void map_page(int number) {
    char name[] = "/tmp/unseen-XXXXXX";
    int file = number % 5 ? -1 : mkstemp(name);
    if (file < 0) return;
    unlink(name);
    void *page = ftruncate(file, 8192) ? MAP_FAILED : mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) memset(page, number, 8192);
    close(file);
}

/* job-12: every 12 s 30 descriptors for 2 s */
static void *job(void *unused) {
    (void)unused;
    for (;;) {
        int used[30];
        usleep(10000000);
        for (int index = 0; index < 30; index++) used[index] = eventfd(0, 0);
        usleep(2000000);
        for (int index = 0; index < 30; index++) close(used[index]);
    }
    return NULL;
}

/* sessions-40: 3,000 bytes for each stream, until a timer frees them after 40 s; recent-40: until the next stream comes */
struct session {
    struct session *next;
    time_t until;
    char data[3000];
};
static struct session *oldest, **newest = &oldest;

static time_t seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void end_sessions(void) {
    pthread_mutex_lock(&lock);
    while (oldest && oldest->until <= seconds()) {
        struct session *one = oldest;
        if (!(oldest = one->next)) newest = &oldest;
        free(one);
    }
    pthread_mutex_unlock(&lock);
}

static void keep_session(void) {
    struct session *one = malloc(sizeof *one);
    if (!one) return;
    memset(one->data, 1, sizeof one->data);
    one->next = NULL;
    one->until = seconds() + 40;
    pthread_mutex_lock(&lock);
    *newest = one;
    newest = &one->next;
    pthread_mutex_unlock(&lock);
}

static void *time_sessions(void *unused) {
    (void)unused;
    for (;; usleep(200000)) end_sessions();
    return NULL;
}

static void refuse(int client) {
    char request[4096];
    struct timeval soon = {.tv_usec = 200000};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    if (recv(client, request, sizeof request, 0) > 0) (void)send(client, full, sizeof full - 1, 0);
    close(client);
}

static void *serve(void *given) {
    int client = (int)(long)given, failed = 0;
    char *own[OWN] = {0};
    unsigned seed = (unsigned)time(NULL) ^ (unsigned)client * 2654435761u;
    if (!strcmp(behaviour, "reserve-870") && eventfd(0, EFD_CLOEXEC) < 0) {
        refuse(client);
        return NULL;
    }
    if (!strcmp(behaviour, "helpers-98")) ask_helpers();
    if (!strcmp(behaviour, "recent-40")) end_sessions();
    if (!strcmp(behaviour, "zombies-9")) run_hook(next_number());
    if (!strcmp(behaviour, "mapped-5")) map_page(next_number());
    char request[4096];
    ssize_t got = recv(client, request, sizeof request - 1, 0);
    request[got > 0 ? got : 0] = 0;
    int slow = !strcmp(behaviour, "tick-6");
    struct slab *slab = !strcmp(behaviour, "slabs-96") ? take_slab() : NULL;
    if (got > 0 && send(client, head, sizeof head - 1, 0) > 0) {
        if (!strcmp(behaviour, "roster")) {
            join_roster(client, request);
            failed = -1;
        }
        for (int number = 0; !failed; number++) {
            if (!strcmp(behaviour, "churn")) churn(&seed, own);
            if (slab) memset(slab->used, number, (size_t)rand_r(&seed) % sizeof slab->used);
            char event[64];
            int length = snprintf(event, sizeof event, "id: %d\ndata: tick\n\n", number);
            if (send(client, event, (size_t)length, 0) < 0) { failed = errno; break; }
            if (slow) { usleep(6000000); continue; } /* it reads nothing: a departure is noticed by a write alone */
            struct pollfd one = {client, POLLIN, 0};
            if (poll(&one, 1, 100) > 0) {
                got = recv(client, request, sizeof request, 0);
                if (got < 0) failed = errno;
                if (got == 0 && !strcmp(behaviour, "half-close")) finish_half_closed(client);
                if (got <= 0) break;
            }
        }
    }
    for (int index = 0; index < OWN; index++) free(own[index]);
    give_slab(slab);
    if (!strcmp(behaviour, "bytes-1700") && (kept = malloc(1700))) memset(kept, 1, 1700);
    if (!strcmp(behaviour, "bytes-3000") && (kept = malloc(3000))) memset(kept, 1, 3000);
    if (!strcmp(behaviour, "sessions-40") || !strcmp(behaviour, "recent-40")) keep_session();
    if (!strcmp(behaviour, "reset-eventfd") && failed == ECONNRESET) (void)eventfd(0, 0);
    close(client);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    behaviour = argv[2];
    signal(SIGPIPE, SIG_IGN);
    int server = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 511)) return 1;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 131072);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    if (!strcmp(behaviour, "roster") && pthread_create(&thread, &small, broadcast, NULL)) return 1;
    if (!strcmp(behaviour, "metrics-64") && pthread_create(&thread, &small, sample, NULL)) return 1;
    if (!strcmp(behaviour, "sessions-40") && pthread_create(&thread, &small, time_sessions, NULL)) return 1;
    if (!strcmp(behaviour, "job-12") && pthread_create(&thread, &small, job, NULL)) return 1;
    if (!strcmp(behaviour, "churn")) {
        unsigned seed = 17;
        mallopt(M_ARENA_MAX, 2); /* else the table spreads over 16 arenas, which takes thousands of streams */
        for (int index = 0; index < SHARED; index++) shared[index] = block(&seed, 500, 9000);
    }
    int reserve = -1;
    if (!strcmp(behaviour, "reserve-870")) {
        struct rlimit few = {870, 870};
        if (setrlimit(RLIMIT_NOFILE, &few)) return 1;
        reserve = open("/dev/null", O_RDONLY);
    }
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client < 0 && errno == EMFILE && reserve >= 0) { /* the spare descriptor serves to say no */
            close(reserve);
            if ((client = accept(server, NULL, NULL)) >= 0) refuse(client);
            reserve = open("/dev/null", O_RDONLY);
            continue;
        }
        if (client >= 0 && pthread_create(&thread, &small, serve, (void *)(long)client)) close(client);
    }
}
