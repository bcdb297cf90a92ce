// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {Market} from "./Market.sol";

contract AuctionTest is Market {
    uint256 private id;

    function setUp() public override {
        super.setUp();
        id = _deploy();
    }

    // ---- bid ---------------------------------------------------------------------------------------

    function test_the_best_bid_alone_holds_bond_and_capacity() public {
        _bid(alpha, id, RATE);
        _assertReserved(alpha);
        _bid(beta, id, RATE * 99 / 100);
        _assertFree(alpha);
        _assertReserved(beta);
        IDaeeManager.Lease memory lease = manager.deployment(id).lease;
        assertEq(lease.node, beta);
        assertEq(lease.rate, RATE * 99 / 100);
        assertEq(lease.bond, BOND);
    }

    function test_a_bid_beats_another_by_a_hundredth_or_not_at_all() public {
        _bid(alpha, id, 1_000);
        _refuses(beta, 1_000, abi.encodeWithSelector(IDaeeManager.NotBetter.selector, 1_000, 990));
        _refuses(beta, 991, abi.encodeWithSelector(IDaeeManager.NotBetter.selector, 991, 990));
        _bid(beta, id, 990);
        _bid(beta, id, 1);
        _refuses(alpha, 1, abi.encodeWithSelector(IDaeeManager.NotBetter.selector, 1, 0));
    }

    function test_a_node_may_beat_itself_with_the_capacity_it_has() public {
        IDaeeManager.Terms memory t = _terms();
        (t.cpuMilli, t.memMiB, t.gpu) = (4_000, 8_192, 1);
        id = _deploy(t, PAYMENT);
        _bid(alpha, id, RATE);
        _bid(alpha, id, RATE / 2);
        assertEq(_node(alpha).cpuUsed, 4_000);
        assertEq(_node(alpha).locked, BOND);
    }

    function test_a_bid_above_the_tenants_maximum_or_of_nothing_is_refused() public {
        _refuses(alpha, RATE_MAX + 1, abi.encodeWithSelector(IDaeeManager.RateAboveMaximum.selector, RATE_MAX + 1, RATE_MAX));
        _refuses(alpha, 0, abi.encodeWithSelector(IDaeeManager.RateAboveMaximum.selector, 0, RATE_MAX));
        _refuses(alpha, type(uint128).max, abi.encodeWithSelector(IDaeeManager.RateAboveMaximum.selector, type(uint128).max, RATE_MAX));
        _bid(alpha, id, RATE_MAX);
    }

    function test_a_bid_for_bytes_that_are_not_offered_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongManifest.selector, manifest2, manifest));
        vm.prank(alpha);
        manager.bid(id, RATE, manifest2);
    }

    function test_a_bid_without_registration_is_refused() public {
        _refuses(stranger, RATE, abi.encodeWithSelector(INodeRegistry.NotRegistered.selector, stranger));
    }

    function test_a_bid_without_stake_is_refused() public {
        address alphaOwner = _ownerOf("alpha");
        vm.prank(alphaOwner);
        registry.unstake(alpha, STAKE - STAKE_MIN + 1);
        _refuses(alpha, RATE, abi.encodeWithSelector(INodeRegistry.StakeBelowMinimum.selector, STAKE_MIN - 1, STAKE_MIN));
        vm.prank(alphaOwner);
        registry.stake(alpha, 1);
        _bid(alpha, id, RATE);
        // What is left is locked for the first.
        id = _deploy();
        _refuses(alpha, RATE, abi.encodeWithSelector(INodeRegistry.StakeLocked.selector, STAKE_MIN - BOND, BOND));
    }

    function test_a_bid_without_capacity_is_refused() public {
        IDaeeManager.Terms memory t = _terms();
        t.cpuMilli = 4_001;
        _refuses(alpha, RATE, abi.encodeWithSelector(INodeRegistry.NoCapacity.selector, "cpu", 4_000, 4_001), t);
        t = _terms();
        t.memMiB = 8_193;
        _refuses(alpha, RATE, abi.encodeWithSelector(INodeRegistry.NoCapacity.selector, "memory", 8_192, 8_193), t);
        t = _terms();
        t.gpu = 2;
        _refuses(alpha, RATE, abi.encodeWithSelector(INodeRegistry.NoCapacity.selector, "gpu", 1, 2), t);
        for (uint256 i = 0; i < 16; i++) _bid(alpha, _deploy(), RATE);
        _refuses(alpha, RATE, abi.encodeWithSelector(INodeRegistry.NoCapacity.selector, "cpu", 0, 250));
    }

    function test_a_node_that_anchors_more_rarely_than_the_tenant_asks_is_refused() public {
        IDaeeManager.Terms memory t = _terms();
        t.interval = INTERVAL - 1;
        _refuses(alpha, RATE, abi.encodeWithSelector(IDaeeManager.IntervalTooLong.selector, INTERVAL, INTERVAL - 1), t);
        assertEq(_node(alpha).locked, 0);
    }

    function test_a_bid_that_the_escrow_could_not_carry_is_refused() public {
        id = _run();
        // Spends all but half a runway at the highest rate, then loses the lease.
        uint256 spent = manager.deployment(id).balance - uint256(RATE_MAX) * RUNWAY / 2;
        while (_paid(id) < spent) {
            _pass(INTERVAL);
            _anchor(alpha);
            _settle(id);
        }
        _pass(INTERVAL + GRACE + 1);
        manager.expire(id);
        uint256 balance = manager.deployment(id).balance;
        _refuses(beta, RATE_MAX, abi.encodeWithSelector(IDaeeManager.PaymentBelowMinimum.selector, balance, uint256(RATE_MAX) * RUNWAY));
        uint128 carried = uint128(balance / RUNWAY);
        _bid(beta, id, carried);
        _assign(id);
        _assertPhase(id, IDaeeManager.Phase.Leased);
    }

    function test_bids_close_when_they_were_said_to() public {
        uint64 closes = manager.deployment(id).bidsClose;
        _until(closes);
        _refuses(alpha, RATE, abi.encodeWithSelector(IDaeeManager.BidsAreClosed.selector, closes));
    }

    function test_nobody_bids_for_what_is_leased_or_over() public {
        id = _lease(id, alpha);
        _refuses(beta, 1, abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Leased));
        _stop(id);
        _refuses(beta, 1, abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Closing));
        manager.finish(id);
        _refuses(beta, 1, abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Closed));
        id = 77;
        _refuses(beta, 1, abi.encodeWithSelector(IDaeeManager.UnknownDeployment.selector, 77));
    }

    function test_a_late_bid_leaves_the_others_time_to_answer() public {
        uint64 closes = manager.deployment(id).bidsClose;
        _until(closes - 30);
        _bid(alpha, id, RATE);
        assertEq(manager.deployment(id).bidsClose, closes);
        _until(closes - 1);
        _bid(beta, id, RATE / 2);
        assertEq(manager.deployment(id).bidsClose, closes - 1 + BID_WINDOW / 4);
    }

    function test_late_bids_extend_the_window_up_to_a_hard_end() public {
        uint64 closes = manager.deployment(id).bidsClose;
        uint128 rate = RATE_MAX;
        uint256 bids;
        for (; _now() < closes + BID_WINDOW - 1; bids++) {
            _until(manager.deployment(id).bidsClose - 1);
            _bid(bids % 2 == 0 ? alpha : beta, id, rate);
            rate = rate * 9 / 10;
        }
        assertGt(bids, 4);
        assertEq(manager.deployment(id).bidsClose, closes + BID_WINDOW);
        assertEq(manager.deployment(id).bidsExtended, BID_WINDOW);
        _assign(id);
    }

    // ---- assign ------------------------------------------------------------------------------------

    function test_an_assignment_starts_an_epoch_that_names_its_block() public {
        _bid(alpha, id, RATE);
        _until(manager.deployment(id).bidsClose);
        bytes32 epoch = keccak256(abi.encode(blockhash(vm.getBlockNumber() - 1), id, 1));
        vm.expectEmit();
        emit IDaeeManager.Assigned(id, alpha, epoch, RATE, BOND);
        vm.prank(stranger);
        manager.assign(id);
        (IDaeeManager.Phase phase, address node, bytes32 current) = manager.leaseOf(id);
        assertEq(uint8(phase), uint8(IDaeeManager.Phase.Leased));
        assertEq(node, alpha);
        assertEq(current, epoch);
        assertEq(manager.lesseeOf(epoch), alpha);
        assertEq(manager.deployment(id).lease.assignedAt, _now());
    }

    function test_nothing_is_assigned_while_bids_are_open() public {
        uint64 closes = manager.deployment(id).bidsClose;
        _until(closes - 1);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.BidsAreOpen.selector, closes));
        manager.assign(id);
    }

    function test_nothing_is_assigned_twice() public {
        _lease(id, alpha);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Leased));
        manager.assign(id);
    }

    function test_bids_open_again_where_nobody_bid() public {
        _assign(id);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        assertEq(manager.deployment(id).bidsClose, _now() + BID_WINDOW);
        assertEq(manager.deployment(id).lease.count, 0);
    }

    function test_no_two_leases_share_an_epoch() public {
        bytes32[] memory seen = new bytes32[](4);
        for (uint256 i = 0; i < seen.length; i++) {
            _lease(id, i % 2 == 0 ? alpha : beta);
            (,, seen[i]) = manager.leaseOf(id);
            for (uint256 j = 0; j < i; j++) assertNotEq(seen[i], seen[j]);
            _pass(START_WINDOW + 1);
            manager.expire(id);
        }
        assertEq(manager.deployment(id).lease.count, 4);
    }

    function test_two_deployments_assigned_in_one_block_have_two_epochs() public {
        uint256 other = _deploy();
        _bid(alpha, id, RATE);
        _bid(alpha, other, RATE);
        _until(manager.deployment(other).bidsClose);
        manager.assign(id);
        manager.assign(other);
        assertNotEq(manager.deployment(id).lease.epoch, manager.deployment(other).lease.epoch);
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _assertReserved(address operator) private view {
        INodeRegistry.Node memory n = _node(operator);
        assertEq(n.locked, BOND);
        assertEq(n.cpuUsed, 250);
        assertEq(n.memUsed, 256);
    }

    function _refuses(address node, uint128 rate, bytes memory why, IDaeeManager.Terms memory terms) private {
        id = _deploy(terms, PAYMENT);
        _refuses(node, rate, why);
    }

    function _refuses(address node, uint128 rate, bytes memory why) private {
        vm.expectRevert(why);
        _bid(node, id, rate);
    }
}
