// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {Market} from "./Market.sol";

/// @notice settle: what a lease earns and what it never does. MARKET rules 1, 2 and 5.
contract PayTest is Market {
    function test_covered_time_is_paid_at_the_rate_that_was_bid() public {
        uint256 id = _run();
        for (uint256 i = 0; i < 3; i++) {
            _pass(INTERVAL);
            _anchor(alpha);
        }
        assertEq(manager.due(id), uint256(RATE) * 3 * INTERVAL);
        vm.expectEmit();
        emit IDaeeManager.Settled(id, alpha, uint256(RATE) * 3 * INTERVAL, 3 * INTERVAL);
        _settle(id);
        _assertPaid(id, 3 * INTERVAL);
        assertEq(manager.due(id), 0);
        assertEq(manager.claimable(_ownerOf("alpha")), _paid(id));
        assertEq(manager.claimable(alpha), 0);
    }

    function test_nothing_is_paid_twice() public {
        uint256 id = _run();
        _pass(INTERVAL);
        _anchor(alpha);
        uint256[] memory twice = new uint256[](2);
        (twice[0], twice[1]) = (id, id);
        manager.settle(twice);
        _settle(id);
        _assertPaid(id, INTERVAL);
    }

    function test_nothing_is_paid_before_the_first_opened_leaf() public {
        uint256 id = _lease();
        _anchorLeaf(_next(id));
        for (uint256 i = 0; i < 4; i++) {
            _pass(INTERVAL);
            _anchor(alpha);
        }
        _settle(id);
        _assertPaid(id, 0);
        _anchorAndOpen(id);
        _settle(id);
        _assertPaid(id, 0);
    }

    function test_pay_begins_when_the_first_leaf_is_opened_not_at_the_anchor_before_it() public {
        uint256 id = _lease();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        _pass(50);
        manager.open(id, leaf, proof);
        _settle(id);
        _assertPaid(id, 0);
        _pass(10);
        _anchor(alpha);
        _settle(id);
        _assertPaid(id, 10);
    }

    function test_a_leaf_opened_long_after_the_last_anchor_has_no_credit_from_that_gap() public {
        uint256 id = _lease();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        _pass(INTERVAL + 20);
        manager.open(id, leaf, proof);
        _pass(5);
        _anchor(alpha);
        _settle(id);
        _assertPaid(id, 0);
        _pass(INTERVAL);
        _anchor(alpha);
        _settle(id);
        _assertPaid(id, INTERVAL);
    }

    function test_what_was_missed_is_never_filled_in() public {
        uint256 id = _run();
        _pass(INTERVAL + GRACE);
        _anchor(alpha);
        _settle(id);
        _assertPaid(id, INTERVAL);
        for (uint256 i = 0; i < 5; i++) _anchor(alpha);
        _settle(id);
        _assertPaid(id, INTERVAL);
    }

    function test_time_that_no_anchor_has_closed_is_not_paid() public {
        uint256 id = _run();
        _pass(INTERVAL - 1);
        _settle(id);
        _assertPaid(id, 0);
        assertEq(manager.due(id), 0);
    }

    function test_leases_that_began_at_different_times_share_an_anchor_but_not_their_past() public {
        uint256 first = _run();
        _pass(INTERVAL);
        _anchor(alpha);
        uint256 second = _lease(_deploy(), alpha);
        _anchorAndOpen(second);
        uint64 both = _now();
        uint256 before = _credited(first);
        _pass(INTERVAL);
        _anchor(alpha);
        uint256[] memory ids = new uint256[](2);
        (ids[0], ids[1]) = (first, second);
        manager.settle(ids);
        assertEq(_paid(first), (before + INTERVAL) * RATE);
        assertEq(_paid(second), uint256(_now() - both) * RATE);
    }

    /// Rule 3's proof that a lease was left out of the tree is not here yet: this is what that costs a tenant until
    /// it ends the lease with `stop`.
    function test_an_anchor_without_the_leaf_of_a_lease_still_credits_it() public {
        uint256 left = _run();
        uint256 shown = _lease(_deploy(), alpha);
        _anchorAndOpen(shown);
        uint256 before = _credited(left);
        _pass(INTERVAL);
        _anchorAndOpen(shown);
        assertEq(_credited(left), before + INTERVAL);
    }

    function test_a_node_whose_interval_is_shorter_than_asked_is_credited_by_its_own() public {
        IDaeeManager.Terms memory t = _terms();
        t.interval = 1 hours;
        uint256 id = _lease(_deploy(t, PAYMENT), alpha);
        _anchorAndOpen(id);
        _pass(1 hours);
        _anchor(alpha);
        _settle(id);
        _assertPaid(id, INTERVAL);
        // Nor is it silent sooner than the tenant said.
        _pass(1 hours + GRACE);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotExpired.selector, _now()));
        manager.expire(id);
    }

    function test_a_node_earns_nothing_on_the_lease_of_another() public {
        uint256 id = _run();
        _anchor(beta);
        _pass(INTERVAL);
        _anchor(beta);
        _settle(id);
        _assertPaid(id, 0);
    }

    function test_an_escrow_pays_all_it_has_and_no_more_and_the_lease_ends() public {
        uint256 id = _exhaust();
        _assertPhase(id, IDaeeManager.Phase.Closing);
        assertEq(manager.deployment(id).balance, 0);
        assertEq(_paid(id), PAYMENT - FEE);
        assertEq(manager.deployment(id).lease.exit, 3);
        _pass(INTERVAL);
        _anchor(alpha);
        _settle(id);
        _anchorAndOpen(id);
        manager.finish(id);
        _assertPhase(id, IDaeeManager.Phase.Closed);
        assertEq(_paid(id), PAYMENT - FEE);
        assertEq(manager.claimable(tenant), 0);
        assertEq(manager.claimable(_ownerOf("alpha")), PAYMENT - FEE);
    }

    function test_an_escrow_that_pays_out_to_the_wei_is_spent() public {
        uint256 id = _run();
        uint128 balance = manager.deployment(id).balance;
        vm.prank(tenant);
        manager.topUp(id, RATE - balance % RATE);
        uint256 left = manager.deployment(id).balance / RATE;
        for (; left > 0; left -= left < INTERVAL ? left : INTERVAL) {
            _pass(left < INTERVAL ? left : INTERVAL);
            _anchor(alpha);
        }
        assertEq(manager.due(id), manager.deployment(id).balance);
        _settle(id);
        _assertPhase(id, IDaeeManager.Phase.Closing);
        assertEq(manager.deployment(id).balance, 0);
    }

    function test_settling_what_has_no_lease_does_nothing() public {
        uint256[] memory ids = new uint256[](3);
        (ids[0], ids[1], ids[2]) = (_deploy(), 0, 99);
        manager.settle(ids);
        assertEq(manager.due(ids[0]) + manager.due(0) + manager.due(99), 0);
        _assertPhase(ids[0], IDaeeManager.Phase.Bidding);
    }

    function test_a_tenant_cannot_burn_what_its_node_has_earned() public {
        uint256 id = _run();
        for (uint256 i = 0; i < 10; i++) {
            _pass(INTERVAL);
            _anchor(alpha);
        }
        uint256 earned = manager.due(id);
        _update(id);
        assertEq(_paid(id), earned);
        uint256 runway = uint256(RATE) * RUNWAY;
        while (manager.deployment(id).balance >= FEE + runway) {
            vm.prank(tenant);
            manager.update(id, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2, 1 << 20);
            if (manager.deployment(id).balance < (1 << 20) * uint256(FEE_PER_BYTE) + runway) break;
        }
        uint256 balance = manager.deployment(id).balance;
        assertGe(balance, runway);
        uint256 minimum = (1 << 20) * uint256(FEE_PER_BYTE) + runway;
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.PaymentBelowMinimum.selector, balance, minimum));
        vm.prank(tenant);
        manager.update(id, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2, 1 << 20);
    }

    function testFuzz_pay_never_exceeds_the_time_since_the_first_leaf(uint256 seed) public {
        uint256 id = _lease();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        _pass(seed % 100);
        manager.open(id, leaf, proof);
        uint64 started = _now();
        for (uint256 i = 0; i < 12; i++) {
            seed = uint256(keccak256(abi.encode(seed)));
            _pass(seed % 90);
            if (seed % 3 != 0) _anchor(alpha);
            if (seed % 5 == 0) _settle(id);
        }
        _settle(id);
        assertLe(_paid(id), uint256(_now() - started) * RATE);
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _exhaust() private returns (uint256 id) {
        IDaeeManager.Terms memory t = _terms();
        id = _deploy(t, PAYMENT);
        _bid(alpha, id, RATE_MAX);
        _assign(id);
        _anchorAndOpen(id);
        while (manager.due(id) < manager.deployment(id).balance) {
            _pass(INTERVAL);
            _anchor(alpha);
        }
        _settle(id);
    }

    function _credited(uint256 id) private view returns (uint256) {
        return manager.coverage(alpha).covered - manager.deployment(id).lease.coveredBase;
    }

    function _assertPaid(uint256 id, uint256 covered) private view {
        assertEq(_paid(id), covered * RATE, "paid");
    }
}
