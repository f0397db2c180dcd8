/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout lock: the sizes and offsets of all public structs, written by hand from the headers as
 * they were at 1.0. A line changes never; new members add lines at the end of their struct.
 */
#include <prvng/prvng.h>
#include <stdio.h>

#define AT(type, member, offset) {#type "." #member, offsetof(struct type, member), (offset)}
#define SIZE(type, size, baseline) \
        {"sizeof " #type, sizeof(struct type), (size)}, {#baseline, (baseline), (size)}

static const struct {
        const char *what;
        size_t is, was;
} locks[] = {
        AT(prvng_error, struct_size, 0), AT(prvng_error, reserved, 4),
        AT(prvng_error, error_class, 8), AT(prvng_error, code, 12),
        AT(prvng_error, retry_after_ms, 16), AT(prvng_error, effect, 24),
        AT(prvng_error, status, 28), AT(prvng_error, message, 32), AT(prvng_error, field, 40),
        SIZE(prvng_error, 48, PRVNG_ERROR_BASELINE),

        AT(prvng_call, struct_size, 0), AT(prvng_call, op_id, 8), AT(prvng_call, attempt, 16),
        AT(prvng_call, deadline_ms, 24), AT(prvng_call, epoch, 32),
        AT(prvng_call, trace_parent, 40), AT(prvng_call, run, 48), AT(prvng_call, task, 56),
        SIZE(prvng_call, 64, PRVNG_CALL_BASELINE),

        AT(prvng_host, struct_size, 0), AT(prvng_host, abi_minor, 8),
        AT(prvng_host, core_version, 16), AT(prvng_host, log, 24), AT(prvng_host, error, 32),
        AT(prvng_host, is_cancelled, 40), AT(prvng_host, cancel_fd, 48),
        AT(prvng_host, progress, 56), AT(prvng_host, ask_again, 64),
        AT(prvng_host, sink_write, 72), AT(prvng_host, sink_new, 80),
        AT(prvng_host, sink_data, 88), AT(prvng_host, sink_free, 96), AT(prvng_host, intern, 104),
        AT(prvng_host, monotonic_ms, 112), AT(prvng_host, get_interface, 120),
        SIZE(prvng_host, 128, PRVNG_HOST_BASELINE),

        AT(prvng_http_request, struct_size, 0), AT(prvng_http_request, method, 8),
        AT(prvng_http_request, target, 16), AT(prvng_http_request, headers, 24),
        AT(prvng_http_request, body, 32), AT(prvng_http_request, n_body, 40),
        AT(prvng_http_request, timeout_ms, 48),
        SIZE(prvng_http_request, 56, PRVNG_HTTP_REQUEST_BASELINE),
        AT(prvng_http_response, struct_size, 0), AT(prvng_http_response, status, 8),
        AT(prvng_http_response, retry_after_ms, 16), AT(prvng_http_response, date_ms, 24),
        SIZE(prvng_http_response, 32, PRVNG_HTTP_RESPONSE_BASELINE),
        AT(prvng_host_http, struct_size, 0), AT(prvng_host_http, session_new, 8),
        AT(prvng_host_http, session_free, 16), AT(prvng_host_http, secret_set, 24),
        AT(prvng_host_http, send, 32),
        SIZE(prvng_host_http, 40, PRVNG_HOST_HTTP_BASELINE),
        AT(prvng_provider_precheck, check, 8),
        SIZE(prvng_provider_precheck, 16, PRVNG_PROVIDER_PRECHECK_BASELINE),
        AT(prvng_provider_inventory, find, 8),
        SIZE(prvng_provider_inventory, 16, PRVNG_PROVIDER_INVENTORY_BASELINE),

        AT(prvng_plugin, struct_size, 0), AT(prvng_plugin, abi_minor, 8),
        AT(prvng_plugin, min_host_minor, 12), AT(prvng_plugin, id, 16), AT(prvng_plugin, name, 24),
        AT(prvng_plugin, kind, 32), AT(prvng_plugin, version, 40),
        AT(prvng_plugin, description, 48), AT(prvng_plugin, licence, 56),
        AT(prvng_plugin, threads, 64), AT(prvng_plugin, flags, 68), AT(prvng_plugin, settle_ms, 72),
        AT(prvng_plugin, dependencies, 80), AT(prvng_plugin, create, 88),
        AT(prvng_plugin, destroy, 96), AT(prvng_plugin, get_interface, 104),
        AT(prvng_plugin, self_test, 112),
        SIZE(prvng_plugin, 120, PRVNG_PLUGIN_BASELINE),

        AT(prvng_op, struct_size, 0), AT(prvng_op, prepare, 8), AT(prvng_op, begin, 16),
        AT(prvng_op, poll, 24), AT(prvng_op, cancel, 32), AT(prvng_op, observe, 40),
        AT(prvng_op, read, 48), AT(prvng_op, list, 56), AT(prvng_op, describe, 64),
        SIZE(prvng_op, 72, PRVNG_OP_BASELINE),

        AT(prvng_store, struct_size, 0), AT(prvng_store, open, 8), AT(prvng_store, append, 16),
        AT(prvng_store, read, 24), AT(prvng_store, recover, 32), AT(prvng_store, streams, 40),
        AT(prvng_store, remove, 48), AT(prvng_store, snapshot_put, 56),
        AT(prvng_store, snapshot_get, 64), AT(prvng_store, close, 72),
        AT(prvng_store, snapshot_part, 80),

        AT(prvng_loader_source, struct_size, 0), AT(prvng_loader_source, path, 8),
        AT(prvng_loader_source, data, 16), AT(prvng_loader_source, n_data, 24),
        AT(prvng_loader_source, arguments, 32),
        SIZE(prvng_loader_source, 40, PRVNG_LOADER_SOURCE_BASELINE),
        AT(prvng_loader, struct_size, 0), AT(prvng_loader, extensions, 8),
        AT(prvng_loader, load, 16),
        SIZE(prvng_loader, 24, PRVNG_LOADER_BASELINE),

        AT(prvng_template, struct_size, 0), AT(prvng_template, evaluate, 8),
        AT(prvng_template, check, 16), AT(prvng_template, render, 24),
        SIZE(prvng_template, 32, PRVNG_TEMPLATE_BASELINE),

        AT(prvng_secret, struct_size, 0), AT(prvng_secret, resolve, 8), AT(prvng_secret, check, 16),
        AT(prvng_secret, list, 24),
        SIZE(prvng_secret, 32, PRVNG_SECRET_BASELINE),

        AT(prvng_position, file, 0), AT(prvng_position, line, 8), AT(prvng_position, column, 12),
        {"sizeof prvng_position", sizeof(struct prvng_position), 16},
        AT(prvng_host_document, struct_size, 0), AT(prvng_host_document, map_begin, 8),
        AT(prvng_host_document, list_begin, 16), AT(prvng_host_document, end, 24),
        AT(prvng_host_document, key, 32), AT(prvng_host_document, string, 40),
        AT(prvng_host_document, integer, 48), AT(prvng_host_document, real, 56),
        AT(prvng_host_document, boolean, 64), AT(prvng_host_document, null, 72),
        AT(prvng_host_document, problem, 80),
        SIZE(prvng_host_document, 88, PRVNG_HOST_DOCUMENT_BASELINE),

        AT(prvng_host_rate, struct_size, 0), AT(prvng_host_rate, acquire, 8),
        AT(prvng_host_rate, back_off, 16),
        SIZE(prvng_host_rate, 24, PRVNG_HOST_RATE_BASELINE),

        AT(prvng_job_status, struct_size, 0), AT(prvng_job_status, state, 8),
        AT(prvng_job_status, exit_code, 12), AT(prvng_job_status, output_offset, 16),
        SIZE(prvng_job_status, 24, PRVNG_JOB_STATUS_BASELINE),
        AT(prvng_host_remote, struct_size, 0), AT(prvng_host_remote, run, 8),
        AT(prvng_host_remote, job_start, 16), AT(prvng_host_remote, job_status, 24),
        AT(prvng_host_remote, job_end, 32), AT(prvng_host_remote, job_forget, 40),
        AT(prvng_host_remote, put_file, 48),
        SIZE(prvng_host_remote, 56, PRVNG_HOST_REMOTE_BASELINE),

        AT(prvng_spawn, struct_size, 0), AT(prvng_spawn, argv, 8), AT(prvng_spawn, environment, 16),
        AT(prvng_spawn, folder, 24), AT(prvng_spawn, input, 32), AT(prvng_spawn, n_input, 40),
        AT(prvng_spawn, max_output, 48), AT(prvng_spawn, timeout_ms, 56),
        SIZE(prvng_spawn, 64, PRVNG_SPAWN_BASELINE),
        AT(prvng_host_spawn, struct_size, 0), AT(prvng_host_spawn, run, 8),
        AT(prvng_host_spawn, job_start, 16), AT(prvng_host_spawn, job_status, 24),
        AT(prvng_host_spawn, job_end, 32), AT(prvng_host_spawn, job_forget, 40),
        SIZE(prvng_host_spawn, 48, PRVNG_HOST_SPAWN_BASELINE),

        AT(prvng_host_workdir, struct_size, 0), AT(prvng_host_workdir, state, 8),
        AT(prvng_host_workdir, cache, 16), AT(prvng_host_workdir, task, 24),
        SIZE(prvng_host_workdir, 32, PRVNG_HOST_WORKDIR_BASELINE),
};

int main(void)
{
        int failed = 0;

        if (sizeof(void *) != 8) {
                puts("the numbers are for 64-bit machines");
                return 77; /* skipped */
        }
        for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++) {
                if (locks[i].is != locks[i].was) {
                        fprintf(stderr, "%s is %zu, was %zu at 1.0: this breaks every plugin\n",
                                locks[i].what, locks[i].is, locks[i].was);
                        failed = 1;
                }
        }
        return failed;
}
