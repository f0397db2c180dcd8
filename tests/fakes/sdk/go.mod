// SPDX-License-Identifier: Apache-2.0

module prvng/tests/fakes/sdk

go 1.23

require github.com/UpCloudLtd/upcloud-go-api/v8 v8.25.0
