/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor of one server: what its two files share. monitor.c decides, life.c acts.
 */
#ifndef PRVNG_LOCAL_MONITOR_H
#define PRVNG_LOCAL_MONITOR_H

#include "helper.h"

#define CRASHES_MAX 3

enum phase { DOWN, STARTING, UP, STOPPING };

struct monitor {
        struct site site;
        const char *name;
        char *server; /* its folder */
        json_t *made; /* server.json */
        json_t *wanted;
        json_t *state;
        unsigned index;
        struct cgroups cgroups;
        enum phase phase;
        pid_t pid;
        int pidfd, notify, inotify, signals, lock;
        bool child;  /* the first process is our child */
        bool again;  /* after the stop that is under way: start */
        bool end;    /* nothing left to watch */
        bool failed; /* the present wish cannot be fulfilled */
        int64_t since, deadline;
        int64_t crashes[CRASHES_MAX];
};

/* One line of the log. */
_printf_(2, 3) void monitor_say(const struct monitor *m, const char *format, ...);

/* Members of state.json, which monitor_save writes. */
void monitor_put(struct monitor *m, const char *key, json_t *value);
void monitor_save(struct monitor *m);

/* The present wish cannot be fulfilled. */
void monitor_set_error(struct monitor *m, const char *error);

/* "running", "stopped" or "gone". */
bool monitor_wants(const struct monitor *m, const char *state);

void monitor_apply_limits(struct monitor *m);
void monitor_start(struct monitor *m);
void monitor_is_up(struct monitor *m);

/* A message of the server's systemd; and for a server that a former monitor started, whose messages
 * are lost: the question. */
void monitor_on_notify(struct monitor *m);
void monitor_ask_if_up(struct monitor *m);

/* Lets it shut down, or kills it; its end comes as an event. */
void monitor_stop(struct monitor *m, bool at_once);
void monitor_on_end(struct monitor *m);

#endif
