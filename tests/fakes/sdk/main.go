// SPDX-License-Identifier: Apache-2.0

// Runs flows of the official UpCloud client against the fake that UPCLOUD_DEBUG_API_BASE_URL names, as TAP.
// What it checks is what that client understood: its types refuse what the real API would not say.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/UpCloudLtd/upcloud-go-api/v8/upcloud"
	"github.com/UpCloudLtd/upcloud-go-api/v8/upcloud/client"
	"github.com/UpCloudLtd/upcloud-go-api/v8/upcloud/request"
	"github.com/UpCloudLtd/upcloud-go-api/v8/upcloud/service"
)

const (
	zone     = "fi-hel2"
	template = "01000000-0000-4000-8000-000020060100"
)

var (
	svc    *service.Service
	server *upcloud.ServerDetails
	labels = []upcloud.Label{{Key: "op_id", Value: "a=b c"}, {Key: "run", Value: "1"}}
)

func expect(truth bool, format string, args ...any) error {
	if truth {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func code(err error) (string, int) {
	var problem *upcloud.Problem
	if errors.As(err, &problem) {
		return problem.ErrorCode(), problem.Status
	}
	return "", 0
}

func expectCode(err error, wantCode string, wantStatus int) error {
	gotCode, gotStatus := code(err)
	return expect(gotCode == wantCode && gotStatus == wantStatus, "expected %d %s, got %v", wantStatus, wantCode, err)
}

func account(ctx context.Context) error {
	a, err := svc.GetAccount(ctx)
	if err != nil {
		return err
	}
	if err := expect(a.ResourceLimits.Cores > 0 && a.UserName != "" && a.Credits > 0, "account: %+v", a); err != nil {
		return err
	}
	zones, err := svc.GetZones(ctx)
	if err != nil {
		return err
	}
	plans, err := svc.GetPlans(ctx)
	if err != nil {
		return err
	}
	templates, err := svc.GetStorages(ctx, &request.GetStoragesRequest{Type: upcloud.StorageTypeTemplate})
	if err != nil {
		return err
	}
	found := false
	for _, t := range templates.Storages {
		found = found || t.UUID == template
	}
	return expect(len(zones.Zones) > 3 && len(plans.Plans) > 3 && found, "zones %d, plans %d, template %v",
		len(zones.Zones), len(plans.Plans), found)
}

func create(ctx context.Context) error {
	var err error
	slice := upcloud.LabelSlice(labels)
	server, err = svc.CreateServer(ctx, &request.CreateServerRequest{
		Zone: zone, Title: "official client", Hostname: "official.example.com", Plan: "1xCPU-2GB", Labels: &slice,
		Metadata: upcloud.True, PasswordDelivery: request.PasswordDeliveryNone,
		LoginUser: &request.LoginUser{CreatePassword: "no", Username: "root",
			SSHKeys: request.SSHKeySlice{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFake test"}},
		StorageDevices: []request.CreateServerStorageDevice{
			{Action: request.CreateServerStorageDeviceActionClone, Storage: template, Title: "disk1", Size: 50,
				Tier: upcloud.StorageTierMaxIOPS},
			{Action: request.CreateServerStorageDeviceActionCreate, Title: "disk2", Size: 20},
		},
		Networking: &request.CreateServerNetworking{Interfaces: []request.CreateServerInterface{
			{Type: upcloud.NetworkTypeUtility,
				IPAddresses: []request.CreateServerIPAddress{{Family: upcloud.IPAddressFamilyIPv4}}},
			{Type: upcloud.NetworkTypePublic,
				IPAddresses: []request.CreateServerIPAddress{{Family: upcloud.IPAddressFamilyIPv4}}},
		}},
	})
	if err != nil {
		return err
	}
	return expect(server.State == upcloud.ServerStateMaintenance &&
		server.CoreNumber == 1 && server.MemoryAmount == 2048 && len(server.StorageDevices) == 2 &&
		len(server.IPAddresses) == 2 && server.Labels[0].Value == "a=b c", "created: %+v", server)
}

func busy(ctx context.Context) error {
	_, err := svc.StopServer(ctx, &request.StopServerRequest{UUID: server.UUID})
	if err := expectCode(err, upcloud.ErrCodeServerStateIllegal, 409); err != nil {
		return err
	}
	_, err = svc.CreateFirewallRule(ctx, &request.CreateFirewallRuleRequest{ServerUUID: server.UUID,
		FirewallRule: upcloud.FirewallRule{Direction: "in", Action: "drop"}})
	return expectCode(err, upcloud.ErrCodeServerStateIllegal, 409)
}

func waitFor(ctx context.Context, state string) error {
	details, err := svc.WaitForServerState(ctx, &request.WaitForServerStateRequest{UUID: server.UUID, DesiredState: state})
	if err != nil {
		return err
	}
	return expect(details.State == state && (details.Host > 1<<32) == (state == "started"), "waited: %+v", details)
}

func started(ctx context.Context) error { return waitFor(ctx, upcloud.ServerStateStarted) }

func list(ctx context.Context) error {
	for n, filters := range [][]request.ServerFilter{
		{request.FilterLabel{Label: labels[0]}, request.FilterLabel{Label: labels[1]}},
		{request.FilterLabelKey{Key: "op_id"}},
		{request.FilterLabel{Label: labels[0]}, request.FilterLabelKey{Key: "absent"}},
		{request.FilterLabel{Label: upcloud.Label{Key: "op_id", Value: "a"}}},
	} {
		found, err := svc.GetServersWithFilters(ctx, &request.GetServersWithFiltersRequest{Filters: filters})
		if err != nil {
			return err
		}
		want := []int{1, 1, 0, 0}[n]
		if err := expect(len(found.Servers) == want, "filter %d finds %d", n, len(found.Servers)); err != nil {
			return err
		}
	}
	return nil
}

func modify(ctx context.Context) error {
	details, err := svc.ModifyServer(ctx, &request.ModifyServerRequest{UUID: server.UUID, Firewall: "on",
		Title: "new title", Labels: &upcloud.LabelSlice{{Key: "only", Value: "this"}}})
	if err != nil {
		return err
	}
	if err := expect(details.Title == "new title" && details.Firewall == "on" && len(details.Labels) == 1 &&
		details.Labels[0].Key == "only", "modified: %+v", details); err != nil {
		return err
	}
	_, err = svc.ModifyServer(ctx, &request.ModifyServerRequest{UUID: server.UUID, Plan: "2xCPU-4GB"})
	return expectCode(err, upcloud.ErrCodeServerStateIllegal, 409)
}

func firewall(ctx context.Context) error {
	if err := svc.CreateFirewallRules(ctx, &request.CreateFirewallRulesRequest{ServerUUID: server.UUID,
		FirewallRules: []upcloud.FirewallRule{
			{Direction: "in", Action: "accept", Family: "IPv4", Protocol: "tcp", DestinationPortStart: "22",
				DestinationPortEnd: "22", SourceAddressStart: "10.0.0.0", SourceAddressEnd: "10.0.0.255"},
			{Direction: "in", Action: "drop"}}}); err != nil {
		return err
	}
	rule, err := svc.CreateFirewallRule(ctx, &request.CreateFirewallRuleRequest{ServerUUID: server.UUID,
		FirewallRule: upcloud.FirewallRule{Direction: "in", Action: "accept", Family: "IPv4", Protocol: "icmp", Position: 2}})
	if err != nil {
		return err
	}
	if err := svc.DeleteFirewallRule(ctx, &request.DeleteFirewallRuleRequest{ServerUUID: server.UUID, Position: 1}); err != nil {
		return err
	}
	rules, err := svc.GetFirewallRules(ctx, &request.GetFirewallRulesRequest{ServerUUID: server.UUID})
	if err != nil {
		return err
	}
	return expect(rule.Position == 2 && len(rules.FirewallRules) == 2 && rules.FirewallRules[0].Protocol == "icmp" &&
		rules.FirewallRules[0].Position == 1 && rules.FirewallRules[1].Action == "drop", "rules: %+v", rules)
}

func network(ctx context.Context) error {
	router, err := svc.CreateRouter(ctx, &request.CreateRouterRequest{Name: "router", Labels: labels[:1]})
	if err != nil {
		return err
	}
	made, err := svc.CreateNetwork(ctx, &request.CreateNetworkRequest{Name: "private", Zone: zone, Router: router.UUID,
		Labels: labels[:1], IPNetworks: upcloud.IPNetworkSlice{{Address: "172.16.8.0/24", DHCP: upcloud.True,
			DHCPDefaultRoute: upcloud.False, Family: upcloud.IPAddressFamilyIPv4, Gateway: "172.16.8.1"}}})
	if err != nil {
		return err
	}
	found, err := svc.GetNetworks(ctx, request.FilterLabel{Label: labels[0]})
	if err != nil {
		return err
	}
	err = svc.DeleteRouter(ctx, &request.DeleteRouterRequest{UUID: router.UUID})
	if err := expectCode(err, upcloud.ErrCodeRouterAttached, 409); err != nil {
		return err
	}
	nic, err := svc.CreateNetworkInterface(ctx, &request.CreateNetworkInterfaceRequest{ServerUUID: server.UUID,
		Type: upcloud.NetworkTypePrivate, NetworkUUID: made.UUID,
		IPAddresses: request.CreateNetworkInterfaceIPAddressSlice{{Family: upcloud.IPAddressFamilyIPv4}}})
	if err != nil {
		return err
	}
	err = svc.DeleteNetwork(ctx, &request.DeleteNetworkRequest{UUID: made.UUID})
	if err := expectCode(err, upcloud.ErrCodeNetworkNotEmpty, 409); err != nil {
		return err
	}
	if err := svc.DeleteNetworkInterface(ctx, &request.DeleteNetworkInterfaceRequest{ServerUUID: server.UUID,
		Index: nic.Index}); err != nil {
		return err
	}
	if err := svc.DetachNetworkRouter(ctx, &request.DetachNetworkRouterRequest{NetworkUUID: made.UUID}); err != nil {
		return err
	}
	if err := svc.DeleteNetwork(ctx, &request.DeleteNetworkRequest{UUID: made.UUID}); err != nil {
		return err
	}
	if err := svc.DeleteRouter(ctx, &request.DeleteRouterRequest{UUID: router.UUID}); err != nil {
		return err
	}
	_, err = svc.GetNetworkDetails(ctx, &request.GetNetworkDetailsRequest{UUID: made.UUID})
	if err := expectCode(err, upcloud.ErrCodeNetworkNotFound, 404); err != nil {
		return err
	}
	return expect(len(found.Networks) == 1 && found.Networks[0].UUID == made.UUID && made.Labels[0] == labels[0] &&
		nic.IPAddresses[0].Address != "", "networks: %+v, interface: %+v", found, nic)
}

func storage(ctx context.Context) error {
	made, err := svc.CreateStorage(ctx, &request.CreateStorageRequest{Size: 10, Tier: upcloud.StorageTierMaxIOPS,
		Title: "data", Zone: zone, BackupRule: &upcloud.BackupRule{Interval: "daily", Time: "0430", Retention: 30}})
	if err != nil {
		return err
	}
	clone, err := svc.CloneStorage(ctx, &request.CloneStorageRequest{UUID: made.UUID, Zone: zone, Title: "clone",
		Tier: upcloud.StorageTierMaxIOPS})
	if err != nil {
		return err
	}
	if _, err := svc.WaitForStorageState(ctx, &request.WaitForStorageStateRequest{UUID: clone.UUID,
		DesiredState: upcloud.StorageStateOnline}); err != nil {
		return err
	}
	attached, err := svc.AttachStorage(ctx, &request.AttachStorageRequest{ServerUUID: server.UUID,
		StorageUUID: made.UUID, Type: "disk", Address: "virtio:5"})
	if err != nil {
		return err
	}
	err = svc.DeleteStorage(ctx, &request.DeleteStorageRequest{UUID: made.UUID})
	if err := expectCode(err, upcloud.ErrCodeStorageAttached, 409); err != nil {
		return err
	}
	if _, err := svc.DetachStorage(ctx, &request.DetachStorageRequest{ServerUUID: server.UUID, Address: "virtio:5"}); err != nil {
		return err
	}
	modified, err := svc.ModifyStorage(ctx, &request.ModifyStorageRequest{UUID: made.UUID, Size: 20, Title: "larger"})
	if err != nil {
		return err
	}
	for _, id := range []string{made.UUID, clone.UUID} {
		if err := svc.DeleteStorage(ctx, &request.DeleteStorageRequest{UUID: id}); err != nil {
			return err
		}
	}
	_, err = svc.GetStorageDetails(ctx, &request.GetStorageDetailsRequest{UUID: made.UUID})
	if err := expectCode(err, upcloud.ErrCodeStorageNotFound, 404); err != nil {
		return err
	}
	return expect(attached.StorageDevice(made.UUID) != nil && modified.Size == 20 && modified.Title == "larger" &&
		clone.State == upcloud.StorageStateMaintenance, "clone %+v, modified %+v", clone, modified)
}

func token(ctx context.Context) error {
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	made, err := svc.CreateToken(ctx, &request.CreateTokenRequest{Name: "rotated", ExpiresAt: expires,
		CanCreateSubTokens: true, AllowedIPRanges: []string{"0.0.0.0/0", "::/0"}})
	if err != nil {
		return err
	}
	own := service.New(client.New("", "", client.WithBearerAuth(made.APIToken),
		client.WithBaseURL(os.Getenv(client.EnvDebugAPIBaseURL))))
	if _, err := own.GetAccount(ctx); err != nil {
		return fmt.Errorf("the new token is not accepted: %w", err)
	}
	tokens, err := svc.GetTokens(ctx, &request.GetTokensRequest{})
	if err != nil {
		return err
	}
	found := 0
	for _, t := range *tokens {
		if t.ID == made.ID && t.LastUsed != nil {
			found++
		}
	}
	if err := svc.DeleteToken(ctx, &request.DeleteTokenRequest{ID: made.ID}); err != nil {
		return err
	}
	_, err = own.GetAccount(ctx)
	if err := expectCode(err, upcloud.ErrCodeAuthenticationFailed, 401); err != nil {
		return err
	}
	_, err = svc.GetTokenDetails(ctx, &request.GetTokenDetailsRequest{ID: made.ID})
	if err := expectCode(err, upcloud.ErrCodeResourceNotFound, 404); err != nil {
		return err
	}
	_, err = svc.CreateToken(ctx, &request.CreateTokenRequest{Name: "late", ExpiresAt: time.Now().Add(9000 * time.Hour)})
	_, status := code(err)
	return expect(found == 1 && status == 400, "found %d, too long a life: %v", found, err)
}

func stop(ctx context.Context) error {
	err := svc.DeleteServer(ctx, &request.DeleteServerRequest{UUID: server.UUID})
	if err := expectCode(err, upcloud.ErrCodeServerStateIllegal, 409); err != nil {
		return err
	}
	said, err := svc.StopServer(ctx, &request.StopServerRequest{UUID: server.UUID, StopType: "soft", Timeout: time.Minute})
	if err != nil {
		return err
	}
	if err := expect(said.State == upcloud.ServerStateStarted, "a stop says %s at once", said.State); err != nil {
		return err
	}
	if err := waitFor(ctx, upcloud.ServerStateStopped); err != nil {
		return err
	}
	larger, err := svc.ModifyServer(ctx, &request.ModifyServerRequest{UUID: server.UUID, Plan: "2xCPU-4GB"})
	if err != nil {
		return err
	}
	return expect(larger.CoreNumber == 2 && larger.Plan == "2xCPU-4GB", "larger: %+v", larger)
}

func remove(ctx context.Context) error {
	if err := svc.DeleteServerAndStorages(ctx, &request.DeleteServerAndStoragesRequest{UUID: server.UUID}); err != nil {
		return err
	}
	_, err := svc.GetServerDetails(ctx, &request.GetServerDetailsRequest{UUID: server.UUID})
	if err := expectCode(err, upcloud.ErrCodeServerNotFound, 404); err != nil {
		return err
	}
	left, err := svc.GetStorages(ctx, &request.GetStoragesRequest{Access: upcloud.StorageAccessPrivate})
	if err != nil {
		return err
	}
	return expect(len(left.Storages) == 0, "storages are left: %+v", left.Storages)
}

func mistakes(ctx context.Context) error {
	good := request.CreateServerRequest{Zone: zone, Title: "t", Hostname: "h", StorageDevices: []request.CreateServerStorageDevice{
		{Action: "clone", Storage: template, Title: "d", Size: 10}}}
	for _, m := range []struct {
		spoil  func(*request.CreateServerRequest)
		code   string
		status int
	}{
		{func(r *request.CreateServerRequest) { r.Zone = "xx-yyy1" }, upcloud.ErrCodeZoneNotFound, 404},
		{func(r *request.CreateServerRequest) { r.Title = "" }, upcloud.ErrCodeServerTitleMissing, 400},
		{func(r *request.CreateServerRequest) { r.Hostname = "not a name" }, upcloud.ErrCodeHostnameInvalid, 400},
		{func(r *request.CreateServerRequest) {
			r.StorageDevices[0].Storage = "01000000-0000-4000-8000-000020070100"
		}, upcloud.ErrCodeMetadataDisabledOnCloudInit, 400},
		{func(r *request.CreateServerRequest) {
			r.StorageDevices[0].Storage = "01000000-0000-4000-8000-00000000dead"
		}, upcloud.ErrCodeStorageNotFound, 404},
	} {
		r := good
		r.StorageDevices = append([]request.CreateServerStorageDevice{}, good.StorageDevices...)
		m.spoil(&r)
		_, err := svc.CreateServer(ctx, &r)
		if err := expectCode(err, m.code, m.status); err != nil {
			return err
		}
	}
	_, err := svc.StartServer(ctx, &request.StartServerRequest{UUID: "invalid"})
	return expectCode(err, upcloud.ErrCodeServerInvalid, 400)
}

func main() {
	c, err := client.NewFromEnv()
	if err != nil {
		fmt.Println("Bail out!", err)
		os.Exit(1)
	}
	svc = service.New(c)
	flows := []struct {
		name string
		run  func(context.Context) error
	}{
		{"account, zones, plans and templates are read", account},
		{"a server is created", create},
		{"a server in maintenance refuses", busy},
		{"the client waits until it is started", started},
		{"servers are listed by labels", list},
		{"a server is modified", modify},
		{"firewall rules are replaced, inserted and deleted", firewall},
		{"networks and routers live and die", network},
		{"storages live and die", storage},
		{"a token is made, used and revoked", token},
		{"a server is stopped and enlarged", stop},
		{"a server is deleted with its storages", remove},
		{"mistakes have the error codes that the client knows", mistakes},
	}
	fmt.Printf("1..%d\n", len(flows))
	failed := false
	for n, flow := range flows {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		err := flow.run(ctx)
		cancel()
		if err != nil {
			failed = true
			fmt.Printf("not ok %d - %s\n# %v\n", n+1, flow.name, err)
		} else {
			fmt.Printf("ok %d - %s\n", n+1, flow.name)
		}
	}
	if failed {
		os.Exit(1)
	}
}
