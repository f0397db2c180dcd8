/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What other threads tell the HTTP thread: answers of the engine, durable records, progress. Posting
 * never blocks on the network. What is only news (records, progress) is dropped when the HTTP thread
 * is far behind; readers find the gap by the records' numbers and read again from the journal.
 */
#ifndef PRVNG_DAEMON_MAILBOX_H
#define PRVNG_DAEMON_MAILBOX_H

#include "base/uid.h"
#include "base/util.h"
#include <pthread.h>

enum mail_type { MAIL_ANSWER, MAIL_RECORD, MAIL_PROGRESS };

struct mail {
        struct mail *next;
        enum mail_type type;
        int status;         /* of an answer */
        void *request;      /* of an answer */
        uint64_t seq;       /* of a record */
        char run[UID_TEXT]; /* of a record or progress */
        size_t n;
        char data[]; /* body, line (with newline) or JSON of the progress; NUL behind it */
};

struct mailbox {
        pthread_mutex_t lock;
        struct mail *first, **last;
        size_t news;   /* bytes of records and progress that wait */
        bool overflow; /* news were dropped since the last take */
};

int mailbox_init(struct mailbox *m);
void mailbox_deinit(struct mailbox *m);

/* [any] True if the box was empty: wake the HTTP thread. An answer that finds no memory becomes a 503
 * without a body; it is never lost unless not even that much is left. */
bool mailbox_answer(struct mailbox *m, void *request, int status, const void *body, size_t n_body);
bool mailbox_news(struct mailbox *m, enum mail_type type, const char *run, uint64_t seq,
                  const void *data, size_t n_data);

/* Everything in the box, oldest first; the caller frees each. */
struct mail *mailbox_take(struct mailbox *m, bool *ret_overflow);

#endif
