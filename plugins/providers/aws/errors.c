/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an error of AWS means: its code first, for EC2 throttles with 503 and others with 400, then the
 * status. The sets of what passes are those of botocore's retry data.
 */
#include "aws.h"

struct meaning {
        const char *code;
        int32_t error_class;
        bool unknown;
};

static const struct meaning meanings[] = {
        /* fewer requests, please: nothing was done */
        {"Throttling", PRVNG_RATE_LIMITED, false},
        {"ThrottlingException", PRVNG_RATE_LIMITED, false},
        {"ThrottledException", PRVNG_RATE_LIMITED, false},
        {"RequestThrottledException", PRVNG_RATE_LIMITED, false},
        {"RequestThrottled", PRVNG_RATE_LIMITED, false},
        {"TooManyRequestsException", PRVNG_RATE_LIMITED, false},
        {"ProvisionedThroughputExceededException", PRVNG_RATE_LIMITED, false},
        {"RequestLimitExceeded", PRVNG_RATE_LIMITED, false},
        {"BandwidthLimitExceeded", PRVNG_RATE_LIMITED, false},
        {"LimitExceededException", PRVNG_RATE_LIMITED, false},
        {"SlowDown", PRVNG_RATE_LIMITED, false},
        {"EC2ThrottledException", PRVNG_RATE_LIMITED, false},
        {"SnapshotCreationPerVolumeRateExceeded", PRVNG_RATE_LIMITED, false},
        /* passes by itself */
        {"TransactionInProgressException", PRVNG_TRANSIENT, false},
        {"PriorRequestNotComplete", PRVNG_TRANSIENT, false},
        {"IDPCommunicationError", PRVNG_TRANSIENT, false},
        {"RequestTimeout", PRVNG_TRANSIENT, true},
        {"RequestTimeoutException", PRVNG_TRANSIENT, true},
        {"InternalError", PRVNG_TRANSIENT, true},
        {"InternalFailure", PRVNG_TRANSIENT, true},
        {"ServerInternal", PRVNG_TRANSIENT, true},
        {"Unavailable", PRVNG_TRANSIENT, true},
        {"ServiceUnavailable", PRVNG_TRANSIENT, true},
        {"EntityTemporarilyUnmodifiable", PRVNG_TRANSIENT, false},
        {"ConcurrentModification", PRVNG_TRANSIENT, false},
        {"InsufficientInstanceCapacity", PRVNG_TRANSIENT, false},
        {"InsufficientHostCapacity", PRVNG_TRANSIENT, false},
        {"InsufficientCapacity", PRVNG_TRANSIENT, false},
        {"InsufficientReservedInstanceCapacity", PRVNG_TRANSIENT, false},
        {"InsufficientAddressCapacity", PRVNG_TRANSIENT, false},
        {"InsufficientFreeAddressesInSubnet", PRVNG_TRANSIENT, false},
        {"InsufficientVolumeCapacity", PRVNG_TRANSIENT, false},
        /* credentials */
        {"AuthFailure", PRVNG_AUTH, false},
        {"UnauthorizedOperation", PRVNG_AUTH, false},
        {"AccessDenied", PRVNG_AUTH, false},
        {"AccessDeniedException", PRVNG_AUTH, false},
        {"Blocked", PRVNG_AUTH, false},
        {"OptInRequired", PRVNG_AUTH, false},
        {"PendingVerification", PRVNG_AUTH, false},
        {"InvalidClientTokenId", PRVNG_AUTH, false},
        {"MissingAuthenticationToken", PRVNG_AUTH, false},
        {"UnrecognizedClientException", PRVNG_AUTH, false},
        {"SignatureDoesNotMatch", PRVNG_AUTH, false},
        {"InvalidSignatureException", PRVNG_AUTH, false},
        {"IncompleteSignature", PRVNG_AUTH, false},
        {"ExpiredToken", PRVNG_AUTH, false},
        {"ExpiredTokenException", PRVNG_AUTH, false},
        {"RequestExpired", PRVNG_AUTH, false},
        {"RequestInTheFuture", PRVNG_AUTH, false},
        /* limits of the account */
        {"InstanceLimitExceeded", PRVNG_QUOTA, false},
        {"VcpuLimitExceeded", PRVNG_QUOTA, false},
        {"MaxSpotInstanceCountExceeded", PRVNG_QUOTA, false},
        {"VolumeLimitExceeded", PRVNG_QUOTA, false},
        {"MaxIOPSLimitExceeded", PRVNG_QUOTA, false},
        {"VpcLimitExceeded", PRVNG_QUOTA, false},
        {"SubnetLimitExceeded", PRVNG_QUOTA, false},
        {"InternetGatewayLimitExceeded", PRVNG_QUOTA, false},
        {"RouteLimitExceeded", PRVNG_QUOTA, false},
        {"SecurityGroupLimitExceeded", PRVNG_QUOTA, false},
        {"SecurityGroupsPerInterfaceLimitExceeded", PRVNG_QUOTA, false},
        {"RulesPerSecurityGroupLimitExceeded", PRVNG_QUOTA, false},
        {"KeyPairLimitExceeded", PRVNG_QUOTA, false},
        {"TagLimitExceeded", PRVNG_QUOTA, false},
        {"LimitExceeded", PRVNG_QUOTA, false},
        {"ResourceLimitExceeded", PRVNG_QUOTA, false},
        /* the present state forbids it */
        {"IncorrectInstanceState", PRVNG_CONFLICT, false},
        {"IncorrectState", PRVNG_CONFLICT, false},
        {"IncorrectModificationState", PRVNG_CONFLICT, false},
        {"DependencyViolation", PRVNG_CONFLICT, false},
        {"IdempotentParameterMismatch", PRVNG_CONFLICT, false},
        {"InvalidGroup.InUse", PRVNG_CONFLICT, false},
        {"OperationNotPermitted", PRVNG_CONFLICT, false},
        {"ResourceCountExceeded", PRVNG_QUOTA, false},
        {"NoSuchEntity", PRVNG_NOT_FOUND, false},
        {"UnsupportedOperation", PRVNG_UNSUPPORTED, false},
        {"Unsupported", PRVNG_UNSUPPORTED, false},
        {"DryRunOperation", PRVNG_DONE, false},
};

static bool ends_with(const char *s, const char *end)
{
        size_t n = strlen(s), k = strlen(end);

        return n >= k && streq(s + n - k, end);
}

static void by_status(struct fault *f)
{
        switch (f->status) {
        case 429:
        case 509:
                f->error_class = PRVNG_RATE_LIMITED;
                f->unknown = false;
                break;
        case 408:
        case 500:
        case 502:
        case 503:
        case 504:
                f->error_class = PRVNG_TRANSIENT;
                f->unknown = true;
                break;
        case 401:
        case 403:
                f->error_class = PRVNG_AUTH;
                f->unknown = false;
                break;
        default:
                f->error_class = f->status >= 500 ? PRVNG_TRANSIENT : PRVNG_PERMANENT;
                /* What is not even an error of AWS says nothing of what was done. */
                f->unknown = f->status < 400 || f->status >= 500;
        }
}

void fault_classify(struct fault *f)
{
        for (size_t i = 0; i < N_ELEMENTS(meanings); i++)
                if (streq(meanings[i].code, f->code)) {
                        f->error_class = meanings[i].error_class;
                        f->unknown = meanings[i].unknown;
                        return;
                }
        if (ends_with(f->code, ".NotFound")) {
                f->error_class = PRVNG_NOT_FOUND;
                f->unknown = false;
        } else if (ends_with(f->code, ".Duplicate") || ends_with(f->code, "AlreadyExists") ||
                   ends_with(f->code, ".InUse") || ends_with(f->code, ".Conflict") ||
                   ends_with(f->code, "AlreadyAssociated")) {
                f->error_class = PRVNG_CONFLICT;
                f->unknown = false;
        } else
                by_status(f);
}
