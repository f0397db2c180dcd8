/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox in which a plugin's process lives: of prvng-plugin-check, where it reports what was tried,
 * and of isolated plugins (core/plugin), where it only refuses.
 *
 * Rights are given up in this order: limits, the user, new rights by exec (no_new_privs), files
 * (Landlock), system calls (seccomp). All of it holds for every thread and child that comes later, and for
 * the rest of their lives. What this kernel lacks is named, not hidden: `ret_missing`.
 */
#ifndef PRVNG_SANDBOX_SANDBOX_H
#define PRVNG_SANDBOX_SANDBOX_H

#include "base/buf.h"

#include <jansson.h>
#include <sys/types.h>

/*
 * With this flag what cannot be told from the number of a system call alone is asked of another process,
 * which answers with sandbox_answer and learns of every attempt. Connections to loopback are allowed then,
 * and a write outside of the folders is refused by its name even where there is no Landlock.
 *
 * Without it nobody is asked: the call fails with EACCES (sockets) or EPERM (all else), and nobody hears.
 */
#define SANDBOX_ASKS     0x1u
#define SANDBOX_SOCKETS  0x2u /* without ASKS: may open sockets and connect them to anything. socketpair(2), and
                               * what was open before, always works */
#define SANDBOX_PROGRAMS 0x4u /* without ASKS: may start processes. They are in the same sandbox */

struct sandbox {
        uint32_t flags;
        const char *folder;  /* absolute; may be read and written; NULL: none */
        const json_t *read;  /* array of absolute paths, files or folders, that may be read, besides what programs
                              * need to run: /usr, libraries, a few of /etc and /dev; NULL: everything may be */
        const json_t *write; /* the same for what may be read and written, or NULL */

        /* Limits; 0: as they are. None is ever raised. */
        uint64_t data_bytes; /* of private writable memory */
        uint64_t file_bytes; /* of one file */
        uint32_t n_files;    /* open at once */
        uint32_t cpu_seconds;

        uid_t uid; /* to become, with the group gid and no other, where this process is root; 0: stays */
        gid_t gid;
};

/*
 * Of this process, which must have one thread only: children and threads that come later inherit it. What
 * cannot be had on this kernel is left out, with a sentence to ret_missing. *ret_listener: the descriptor
 * that is readable when something is asked (SANDBOX_ASKS; the context keeps it, never close it), else -1.
 * Negative errno: something that must not be left out failed (the user, no_new_privs); the process is to end.
 */
int sandbox_enter(const struct sandbox *s, int *ret_listener, struct buf *ret_missing);

/* --- the other side of SANDBOX_ASKS --- */

struct sandbox_broker {
        int listener;        /* taken out of the process with pidfd_getfd(2) */
        const char *folder;  /* as in struct sandbox */
        const json_t *write;
        const int *tested;   /* shared memory: pid of the process that holds the plugin, 0: none yet. Only its
                              * processes and signals are judged */
        const int *may_fork; /* shared memory: >0 while it may start processes */
        const int *may_spawn; /* shared memory: 1: it may call posix_spawn(3) at any time */
        void (*violation)(void *userdata, const char *text); /* what was refused; text: valid for the call */
        void *userdata;
};

/* Answers one question; to be called when the listener is readable. [one thread at a time] */
void sandbox_answer(const struct sandbox_broker *b);

#endif
