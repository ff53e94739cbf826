/* A threaded service of event streams with one behaviour, by its name. usage: service PORT BEHAVIOUR */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *behaviour;
static char *volatile kept; /* else the compiler leaves the leak out */
static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

static void *serve(void *given) {
    int client = (int)(long)given, failed = 0;
    char request[4096];
    ssize_t got = recv(client, request, sizeof request, 0);
    int slow = !strcmp(behaviour, "tick-6");
    if (got > 0 && send(client, head, sizeof head - 1, 0) > 0) {
        for (int number = 0; !failed; number++) {
            char event[64];
            int length = snprintf(event, sizeof event, "id: %d\ndata: tick\n\n", number);
            if (send(client, event, (size_t)length, 0) < 0) { failed = errno; break; }
            if (slow) { usleep(6000000); continue; } /* it reads nothing: a departure is noticed by a write alone */
            struct pollfd one = {client, POLLIN, 0};
            if (poll(&one, 1, 100) > 0) {
                got = recv(client, request, sizeof request, 0);
                if (got < 0) failed = errno;
                if (got <= 0) break;
            }
        }
    }
    if (!strcmp(behaviour, "bytes-3000") && (kept = malloc(3000))) memset(kept, 1, 3000);
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
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 131072);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        int client = accept(server, NULL, NULL);
        pthread_t thread;
        if (client >= 0 && pthread_create(&thread, &small, serve, (void *)(long)client)) close(client);
    }
}
