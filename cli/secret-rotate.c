/* SPDX-License-Identifier: Apache-2.0 */
/* prvng secret rotate: a run of its own that renews the credential of a provider. */
#include "follow.h"
#include "output.h"
#include "submit.h"

/* What the provider said of the new one; never the secret. */
static void show_result(struct cli *cli)
{
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_json_decref) json_t *outputs = NULL;
        const struct resource *r;
        char key[160];

        if (look_open(&look, cli, ""))
                return;
        snprintf(key, sizeof(key), "credential.%s", cli->args[0]);
        r = inventory_get(&look.site->inventory, key);
        if (!r || !r->workflow || json_parse(r->outputs, strlen(r->outputs), &outputs, NULL))
                return;
        printf("%s works with the credential %s now, valid until %s\n", cli->args[0],
               json_get_string(outputs, "id", "?"),
               json_get_string(outputs, "valid_until", "it is revoked"));
}

int secret_rotate(struct cli *cli)
{
        _cleanup_(cleanup_client) struct client client = {.folder = -1};
        _cleanup_(cleanup_json_decref) json_t *answer = NULL;
        _cleanup_(cleanup_look) struct look look = {0};
        _cleanup_(cleanup_buf) struct buf body = BUF_NULL;
        char id[UID_TEXT];
        int r = look_open(&look, cli, "");

        r = r ?: client_init(&client, cli, look.context.config);
        r = r ?: new_run_id(cli, id);
        if (r)
                return r;
        BUF_LIT(&body, "{\"id\":");
        buf_json(&body, id);
        BUF_LIT(&body, ",\"provider\":");
        buf_json(&body, cli->args[0]);
        BUF_LIT(&body, ",\"who\":");
        put_who(&body);
        BUF_LIT(&body, "}");
        r = submit_post(&client, "/secrets/rotate", &body, NULL, &answer);
        r = r ?: after_submit(&client, id, answer, true, 0);
        if (r == 0 && cli->format == FORMAT_TABLE)
                show_result(cli);
        return r;
}
