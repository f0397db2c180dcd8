/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of a site's journal: into a file (backup), out of it, and from store to store. What is copied are
 * the bytes of segments, so that all seals hold in the copy.
 *
 * A backup is taken beside a live engine. The order makes it whole: the site's stream is read first, up to a
 * seal; all that it names was durable in the runs' streams before, and is found when they are read. What a
 * run did after that (its end, and what followed when it was taken up again) is left out: the copy is what
 * a crash at the moment of that seal might have left, and an engine goes on from it like after any crash.
 *
 * The file, in this order:
 *
 *      {"prvng_backup":1,"site":"...","home":"file","at":MS,"version":"...","anchor":"prvng-anchor/1 ..."}
 *      {"store":"file","stream":"site","segment":1,"bytes":N}       and N bytes, as often as needed
 *      {"segments":COUNT,"sha256":"<64 hex>"}                       over every byte before this line
 */
#ifndef PRVNG_JOURNAL_BACKUP_H
#define PRVNG_JOURNAL_BACKUP_H

#include "journal/audit.h"

/* A segment, or the first part of one. */
struct copied {
        const char *store, *stream;
        uint32_t segment;
        const void *data;
        size_t n;
};

typedef int (*copy_f)(void *userdata, const struct copied *c);

/* Hands all segments of an intact audit on, the site's stream first; `request` is that of the audit. A
 * non-zero answer of `f` ends it and is returned. */
int audit_copy(const struct audit_request *request, const struct audit *a, copy_f f, void *userdata,
               char **ret_message);

struct backup_head {
        char site[UID_TEXT];
        char home[64];    /* store of the site's stream, where the backup was taken */
        int64_t at;       /* wall clock, milliseconds */
        char *anchor;     /* what the copies must contain */
};

#define BACKUP_HEAD_NULL ((struct backup_head){0})

void backup_head_deinit(struct backup_head *h);

/* Writes the audited site to a new file, which appears whole and synced or not at all. -EEXIST. The audit
 * must be intact. */
int backup_write(const char *path, const struct audit_request *request, const struct audit *a, int64_t at,
                 char **ret_message);

/* Reads a backup: first all of it, to see that it is whole, then once more for `f` (may be NULL). -EBADMSG
 * with *ret_message if it is not what was written, other -errno if it cannot be read. */
int backup_read(const char *path, struct backup_head *ret_head, copy_f f, void *userdata,
                char **ret_message);

static inline void cleanup_backup_head(struct backup_head *h)
{
        backup_head_deinit(h);
}

#endif
