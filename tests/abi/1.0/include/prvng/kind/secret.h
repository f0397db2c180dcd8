/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng.secret/1: where secrets are kept: encrypted files, a key management service, a vault.
 *
 * A reference names one secret of a site, and is all of it that definitions, configurations, requests,
 * journal and logs ever hold:
 *
 *      secret://BACKEND/PATH#KEY
 *
 * BACKEND is the short name of the plugin. What stands behind it is the plugin's: by custom PATH is a
 * file, or the name of a secret of the service, and KEY a member of what it holds, levels separated by
 * "/" ("secret://sops/prod.yaml#upcloud/token"). A plugin gets "PATH#KEY", or "PATH": UTF-8 without
 * control characters, 1 to 1024 bytes.
 *
 * The value leaves by the sink of resolve() and by nothing else. That sink's memory is the core's: locked
 * into memory where the system allows it, left out of core dumps, and wiped once the value was used. So
 * are the sinks of host->sink_new wiped, and what prvng.host.spawn/1 and prvng.host.http/1 read for a
 * plugin: the output of a program can go into the sink of resolve() directly. What a plugin copies itself
 * it wipes itself (explicit_bzero) before it returns, and it keeps no value from one call to the next:
 * how long one may be used again is the core's decision.
 *
 * A backend that can also make secrets, or renew them, answers to prvng.op/1, too: tasks of the kind
 * "secret", spec.reference as above, and of the kind "credential", which renews what the backend itself
 * works with (prvng/kind/provider.h). Neither their requests nor their results hold a value; a new value
 * is made by the backend. One that only reads has no such table.
 *
 * No function here has an effect: the effect of every error is PRVNG_EFFECT_NONE.
 */
#ifndef PRVNG_KIND_SECRET_H
#define PRVNG_KIND_SECRET_H

#include <prvng/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRVNG_SECRET "prvng.secret/1"

#define PRVNG_SECRET_MAX           65536u /* bytes of a value */
#define PRVNG_SECRET_REFERENCE_MAX 1024u  /* bytes of what a plugin gets of a reference */

struct prvng_secret {
        uint32_t struct_size;
        uint32_t reserved;

        /*
         * [worker] Writes the value, 1 to PRVNG_SECRET_MAX bytes, exactly as they are: nothing is
         * added, no newline either. DONE; or with the error record set, and nothing of any value in it:
         *
         *      NOT_FOUND   there is no such secret; `field` of the record is "path" or "key", the part
         *                  that names nothing
         *      PERMANENT   the reference is none of this backend's, field "reference"; or what is kept
         *                  there is damaged (a message authentication code that is wrong), or may be
         *                  read by others
         *      AUTH        what would open it is missing or was refused: a key file, the right to decrypt
         *      TRANSIENT, RATE_LIMITED, CANCELLED   as everywhere
         *      UNSUPPORTED a program or library is not installed; the cure is in the message
         *      INTERNAL    the sink refused: more than PRVNG_SECRET_MAX bytes
         *
         * Honours the call's deadline and cancel_fd. No second attempt is made here.
         */
        int32_t (*resolve)(void *instance, struct prvng_call *call, const char *reference,
                           struct prvng_sink *value);

        /*
         * [worker] Would resolve() have a value? Answers as it, as far as that can be known without
         * laying the value open: what is encrypted need not be decrypted. Writes what is known about it,
         * all members optional:
         *
         *      {"expires": "2027-01-31T00:00:00Z", "changed": RFC 3339, "version": "4",
         *       "encrypted": true}
         *
         * which holds neither the value nor what could be guessed from (its length, a digest).
         */
        int32_t (*check)(void *instance, struct prvng_call *call, const char *reference,
                         struct prvng_sink *result);

        /*
         * [worker] Optional. Writes {"references": ["PATH#KEY", ...], "more": true}: those that begin
         * with `prefix` ("": all), sorted, each of which check() knows. `more` is only there if some were
         * left out: at most 10000 are listed.
         */
        int32_t (*list)(void *instance, struct prvng_call *call, const char *prefix,
                        struct prvng_sink *result);
        /* members above: 1.0 */
};
#define PRVNG_SECRET_BASELINE PRVNG_SIZE_UP_TO(struct prvng_secret, list)

#ifdef __cplusplus
}
#endif

#endif
