/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, in the order of the help. */
#include "cli.h"

#define OPTIONS(...) .options = (const struct option_def[]){__VA_ARGS__, {0}}
#define RUN_ARG "[ID]"

static const char run_help[] =
        "ID is the id of a run, or the name of a workflow for its latest run.";

const struct command commands[] = {
        {"batch submit", "FILE", 1, 1, "Runs a workflow",
         "The definition is checked first, then its plan; all that is wrong is shown, with its\n"
         "place, and nothing is started. Then the site's engine takes it over: the command may\n"
         "end, the run goes on.",
         "batch submit workflows.k --watch\n"
         "batch submit workflows.k --dry-run\n"
         "batch submit workflows.k --validate --online\n"
         "batch submit workflows.yaml --only create-servers,install-base\n"
         "batch submit workflows.k -D size=3 --env staging --watch",
         OPTIONS({"watch", 'w', NULL, "follow the run to its end and exit with its code"},
                 {"foreground", 0, NULL, "run the engine inside this command (CI, containers)"},
                 {"validate", 0, NULL, "check definition and plan, and stop there"},
                 {"online", 0, NULL, "with --validate or --dry-run: ask the providers too"},
                 {"dry-run", 'n', NULL, "show the plan, and stop there"},
                 {"only", 0, "OP,...", "only these operations and what they need"},
                 {"replace", 0, "SERVER,...", "make these anew where a change cannot be made on what runs"},
                 {"prune", 0, NULL, "delete what the definition no longer names"},
                 {"workflow", 0, "NAME", "which one, if the file holds several"},
                 {"env", 'e', "NAME", "environment handed to the definition"},
                 {"define", 'D', "K=V", "an argument of the definition; may be repeated"}),
         batch_submit},
        {"batch attach", RUN_ARG, 0, 1, "Follows a run to its end",
         "Without ID: the latest run. Ctrl-C detaches; the run goes on.",
         "batch attach\nbatch attach wuji-full-deployment", NULL, batch_attach},
        {"batch list", "", 0, 0, "Lists runs", NULL, "batch list\nbatch list --name shop --format json",
         OPTIONS({"name", 0, "NAME", "only runs of this workflow"}), batch_list},
        {"batch status", "ID", 1, 1, "Shows how a run stands", run_help,
         "batch status shop\nbatch status shop --follow\nbatch status shop --format json",
         OPTIONS({"follow", 'f', NULL, "go on until the run has ended"}), batch_status},
        {"batch logs", "ID [TASK]", 1, 2, "Shows the log of a run, or what a task printed", run_help,
         "batch logs shop\nbatch logs shop install-base/containerd@wuji-cp-0 --follow",
         OPTIONS({"follow", 'f', NULL, "go on until the run has ended"}), batch_logs},
        {"batch events", "ID", 1, 1, "Shows a run's journal, one line a record", run_help,
         "batch events shop\nbatch events shop --follow --format json",
         OPTIONS({"follow", 'f', NULL, "go on until the run has ended"}), batch_events},
        {"batch graph", "ID|FILE", 1, 1, "Draws the tasks and what depends on what",
         "Of a run: with the states of its tasks.",
         "batch graph workflows.k --output dot\nbatch graph shop --output svg > shop.svg",
         OPTIONS({"output", 'o', "dot|svg|mermaid", "default: dot"},
                 {"workflow", 0, "NAME", "which one, if the file holds several"},
                 {"env", 'e', "NAME", "environment handed to the definition"},
                 {"define", 'D', "K=V", "an argument of the definition; may be repeated"}),
         batch_graph},
        {"batch destroy", "NAME", 1, 1, "Deletes all that a workflow owns",
         "A plan of its own, run by the engine like any other.",
         "batch destroy shop --dry-run\nbatch destroy shop --watch",
         OPTIONS({"watch", 'w', NULL, "follow the run to its end and exit with its code"},
                 {"dry-run", 'n', NULL, "show what would be deleted, and stop there"}),
         batch_destroy},
        {"batch check", "NAME", 1, 1, "Looks whether all that a workflow owns is as it should be",
         "Changes nothing. Follows the run to its end. Exit code 8: something differs.",
         "batch check shop",
         OPTIONS({"watch", 'w', NULL, "as with the other commands; it is done in any case"}), batch_check},
        {"batch pause", "ID", 1, 1, "Starts nothing more in a run until it is resumed",
         "What is at work comes to its end. A pause survives a restart of the engine.",
         "batch pause shop", NULL, batch_pause},
        {"batch resume", "ID", 1, 1, "Goes on with a run that is paused, or with an incomplete rollback",
         "With --definition a paused run goes on with a changed definition: what has started stays as\n"
         "it is, all else is planned anew. The difference is shown first. What has started cannot be\n"
         "changed or removed; a later run can do that.",
         "batch resume shop\nbatch resume shop --watch\n"
         "batch resume shop --definition workflows.k --dry-run\n"
         "batch resume shop --definition workflows.k --yes --watch\n"
         "batch resume shop --definition workflows.k --replace web-0 --prune --dry-run",
         OPTIONS({"watch", 'w', NULL, "follow the run to its end and exit with its code"},
                 {"definition", 0, "FILE", "go on with what this file says"},
                 {"dry-run", 'n', NULL, "show what it changes, and stop there"},
                 {"yes", 'y', NULL, "change the run without being asked"},
                 {"only", 0, "OP,...", "only these operations and what they need"},
                 {"replace", 0, "SERVER,...", "make these anew where a change cannot be made on what runs"},
                 {"prune", 0, NULL, "delete what the definition no longer names"},
                 {"workflow", 0, "NAME", "which one, if the file holds several"},
                 {"env", 'e', "NAME", "environment handed to the definition"},
                 {"define", 'D', "K=V", "an argument of the definition; may be repeated"}),
         batch_resume},
        {"batch rollback", "ID", 1, 1, "Undoes what a run did, or what it did after a checkpoint",
         "At any time, also of a run that has succeeded. Only what this run made or changed is\n"
         "undone, and only where nobody has changed it since. Exit code with --watch: 4 when all\n"
         "is undone, 5 when something is left, which is listed.",
         "batch rollback shop --dry-run\nbatch rollback shop --watch\nbatch rollback shop --to 2",
         OPTIONS({"to", 0, "CHECKPOINT", "its number, as batch status shows it (default: 0, the start)"},
                 {"dry-run", 'n', NULL, "show what would be undone and what cannot be, and stop there"},
                 {"watch", 'w', NULL, "follow the run to its end and exit with its code"}),
         batch_rollback},
        {"batch retry", "ID [OPERATION]", 1, 2, "Does again what did not succeed",
         "In the whole run or in one operation, with the plan that the run was started with. To\n"
         "change the definition, submit it again.",
         "batch retry shop\nbatch retry shop install-base --watch",
         OPTIONS({"watch", 'w', NULL, "follow the run to its end and exit with its code"}),
         batch_retry},
        {"batch cancel", "ID", 1, 1, "Starts nothing more in a run, and undoes nothing",
         "During a rollback: no further undo starts; prvng batch resume goes on with it.",
         "batch cancel shop", NULL, batch_cancel},
        {"batch resolve", "ID TASK", 2, 2, "Tells what became of a task that waits for you",
         "A task is parked when nobody can find out what an attempt did. Look yourself, then say it.",
         "batch resolve shop create-servers/web-0 --as done\n"
         "batch resolve shop create-servers/web-0 --as not-started",
         OPTIONS({"as", 0, "done|not-started", "what you found"}), batch_resolve},

        {"resource list", "", 0, 0, "Lists the inventory", NULL,
         "resource list\nresource list --format json", NULL, resource_list},
        {"resource show", "NAME", 1, 1, "Shows a resource", NULL,
         "resource show server.wuji-cp-0", NULL, resource_show},

        {"resource adopt", "PROVIDER KIND ID", 3, 3, "Takes what a provider has into the inventory",
         "KIND is server, network or security_group; ID is the provider's own id, or a name that only one\n"
         "has. It shows what the definition has to say for the next run to find no difference. What is\n"
         "adopted is never undone; `batch destroy` of its workflow deletes it.",
         "resource adopt upcloud server 00798b85-efdc-41ca-8021-f6ef457b8531 --workflow shop\n"
         "resource adopt aws network vpc-0a1b --as private --dry-run",
         OPTIONS({"workflow", 0, "NAME", "whose it is from then on; default: adopted"},
                 {"as", 0, "NAME", "its name here; default: the one that it has"},
                 {"dry-run", 'n', NULL, "show what would be adopted, and stop there"}),
         resource_adopt},
        {"resource orphans", "", 0, 0, "Finds what carries this site's marks, and no journal knows",
         "Asks every provider, then reads the journal; works beside a running engine. --adopt takes\n"
         "them into the inventory, for the workflow whose name they carry; --delete deletes them by a\n"
         "run of their own.",
         "resource orphans\nresource orphans --adopt\nresource orphans --delete --yes",
         OPTIONS({"adopt", 0, NULL, "take them into the inventory"},
                 {"delete", 0, NULL, "delete them, after a question"},
                 {"yes", 'y', NULL, "do not ask"}),
         resource_orphans},

        {"server list", "", 0, 0, "Lists servers with their addresses", NULL, "server list", NULL,
         server_list},
        {"server exec", "NAME -- CMD...", 2, -1, "Runs a command in a server",
         "The exit code is that of the command; 255: the server could not be reached.",
         "server exec wuji-cp-0 -- systemctl is-system-running", NULL, server_exec},
        {"server shell", "NAME", 1, 1, "Opens a shell in a server", NULL, "server shell wuji-cp-0",
         NULL, server_shell},
        {"server logs", "NAME", 1, 1, "Shows the system log of a server", NULL,
         "server logs wuji-cp-0\nserver logs wuji-cp-0 --follow\nserver logs wuji-cp-0 --console",
         OPTIONS({"follow", 'f', NULL, "go on until Ctrl-C"},
                 {"lines", 'n', "N", "how many of the last lines (default 200)"},
                 {"console", 0, NULL, "its console, as kept outside of it"}),
         server_logs},

        {"plugin list", "", 0, 0, "Lists plugins, and why one was refused",
         "Reads the notes in the files; runs none of their code.", "plugin list", NULL, plugin_list},
        {"plugin info", "NAME", 1, 1, "Shows all about a plugin", NULL,
         "plugin info local\nplugin info containerd --format json", NULL, plugin_info},
        {"plugin trust", "[FILE.so]", 0, 1, "Enables a plugin that no package brought, pinned to its file",
         "Shows what it is and who signed it, asks, and writes a drop-in with its SHA-256. A changed file\n"
         "is refused from then on. With --key: takes a public ed25519 key into the keyring; what it\n"
         "signed (FILE.so.sig, as openssl pkeyutl -sign -rawin writes it) is accepted.",
         "plugin trust ./hetzner.so\nplugin trust --key vendor.pem",
         OPTIONS({"key", 0, "KEY.pem", "public key to add to the keyring"},
                 {"yes", 'y', NULL, "do not ask"}),
         plugin_trust},
        {"plugin check", "FILE.so [-- OPTION...]", 1, -1, "Checks whether a plugin keeps the contract",
         "Every test in a process of its own, in a sandbox. This is prvng-plugin-check(1); what stands\n"
         "behind -- is handed to it.",
         "plugin check ./hetzner.so\nplugin check ./hetzner.so -- --scenario check.json --only 'op/*'", NULL,
         plugin_check},
        {"plugin new", "NAME", 1, 1, "Writes the skeleton of a plugin into a new folder",
         "It builds against the installed SDK, passes prvng plugin check, and is meant to be changed.",
         "plugin new --kind provider hetzner",
         OPTIONS({"kind", 'k', "KIND", "provider, taskserv, secret, store, loader or template"}), plugin_new},

        {"store cat", "[STREAM]", 0, 1, "Prints the journal's records",
         "Without STREAM: the site's. --list names the streams.",
         "store cat | tail\nstore cat --list\nstore cat run-01JD0000000000000000000000",
         OPTIONS({"list", 'l', NULL, "the names of all streams"}), store_cat},
        {"store check", "", 0, 0, "Reads the whole journal as an engine that starts would",
         "Tells the exact place of damage. A torn tail after a crash is none.", "store check", NULL,
         store_check},
        {"store compact", "", 0, 0, "Removes the journals of runs that ended long ago",
         "A run is old when its workflow's logging.retention_days (default 30) have passed since its\n"
         "end. A signed record stands for what is removed, so that prvng audit verify still proves the\n"
         "whole. The run stays in the list; it cannot be rolled back any more.",
         "store compact --dry-run\nstore compact --older-than 90",
         OPTIONS({"older-than", 0, "DAYS", "this many, whatever the workflows say"},
                 {"dry-run", 'n', NULL, "show which runs, and stop there"}),
         store_compact},
        {"store export", "FILE", 1, 1, "Writes a backup of the whole journal",
         "Beside a running engine too: the file holds all streams as of one moment, and a digest at\n"
         "its end. It appears whole or not at all.",
         "store export /media/safe/site-2026-11-22.prvng", NULL, store_export},
        {"store import", "FILE", 1, 1, "Restores a backup",
         "No engine may run. The journal that is there is kept beside it. The world went on since\n"
         "the backup: the next engine pauses every run in flight until you resume it.",
         "store import /media/safe/site-2026-11-22.prvng --replace",
         OPTIONS({"replace", 0, NULL, "although this site has a journal"}), store_import},
        {"store migrate", "STORE", 1, 1, "Moves the site to another store, without loss",
         "No engine may run. The copy is verified before it takes the old one's place, which is kept\n"
         "beside it.",
         "store migrate rkvs\nstore migrate file", NULL, store_migrate},

        {"audit verify", "[ID]", 0, 1, "Proves that the journal is what was written",
         "Verifies every stream of the site, or of one run, and names the first record that was\n"
         "changed, removed or reordered. Prints an anchor: with it, kept elsewhere, a later call\n"
         "proves that nothing up to there was cut off or replaced. Works beside a running engine;\n"
         "starts nothing. Exit code 7: the journal is not what it was.",
         "audit verify | tail -1 >> /media/safe/anchors\n"
         "audit verify --anchor /media/safe/anchors\n"
         "audit verify shop --format json",
         OPTIONS({"anchor", 0, "ANCHOR|FILE", "that head, or those of a file, must be in the journal"}),
         audit_verify},

        {"audit log", "[ID]", 0, 1, "Shows who did what, and when",
         "Submitted, paused, resumed, rolled back, retried, resolved, cancelled, adopted, compacted,\n"
         "restored, migrated: of the site, or of one run. All of it is sealed like everything else.",
         "audit log\naudit log shop --format json", NULL, audit_log},

        {"secret rotate", "PROVIDER", 1, 1, "Renews the credential that a provider works with",
         "A run of its own: a new one is made, stored where the old one stood, proven to work, and only\n"
         "then is the old one revoked. The secret itself is shown nowhere.",
         "secret rotate upcloud", NULL, secret_rotate},

        {"config check", "", 0, 0, "Checks the site's configuration and shows what holds", NULL,
         "config check\nconfig check --config ./prvng.conf", NULL, config_check},
        {0},
};
