// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {Market} from "./Market.sol";

/// @notice stop, finish, expire, update and refuseUpdate of a lease: MARKET rules 3, 5, 10 and 18.
contract EndsTest is Market {
    // ---- stop and finish ---------------------------------------------------------------------------

    function test_a_stopped_lease_is_paid_to_its_end_and_the_rest_goes_back() public {
        uint256 id = _run();
        uint64 started = _now();
        _pass(INTERVAL);
        _anchor(alpha);
        _pass(20);
        _stop(id);
        uint64 ended = _now();
        _assertPhase(id, IDaeeManager.Phase.Closing);
        _pass(5);
        _anchorAndOpen(id);
        manager.finish(id);
        _assertPhase(id, IDaeeManager.Phase.Closed);
        uint256 paid = uint256(ended - started) * RATE;
        assertEq(manager.claimable(_ownerOf("alpha")), paid);
        assertEq(manager.claimable(tenant), PAYMENT - FEE - paid);
        assertEq(token.balanceOf(address(manager)), PAYMENT - FEE);
    }

    function test_what_is_anchored_after_the_end_earns_nothing() public {
        uint256 id = _run();
        _pass(20);
        _stop(id);
        for (uint256 i = 0; i < 2; i++) {
            _pass(INTERVAL);
            _anchorAndOpen(id);
        }
        assertEq(manager.due(id), 20 * uint256(RATE));
        manager.finish(id);
        assertEq(_paid(id), 20 * uint256(RATE));
    }

    function test_the_final_leaf_may_claim_the_time_to_the_end() public {
        uint256 id = _run();
        _pass(20);
        _stop(id);
        _pass(5);
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.coveredSeconds = 21;
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refusesLeaf(leaf, proof, abi.encodeWithSelector(IDaeeManager.CoverageOverstated.selector, 21, 20));
        leaf.coveredSeconds = 20;
        _anchorAndOpen(leaf);
        assertTrue(manager.deployment(id).lease.finalOpen);
    }

    function test_without_a_final_leaf_the_time_since_the_last_anchor_is_forfeited() public {
        uint256 id = _run();
        _pass(INTERVAL);
        _anchor(alpha);
        _pass(20);
        _stop(id);
        uint64 over = _now() + OPEN_WINDOW;
        _until(over);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.TooEarly.selector, over));
        manager.finish(id);
        _until(over + 1);
        manager.finish(id);
        assertEq(_paid(id), INTERVAL * uint256(RATE));
    }

    function test_a_leaf_anchored_before_the_end_is_opened_but_is_not_the_final_one() public {
        uint256 id = _run();
        _pass(INTERVAL);
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        _pass(20);
        _stop(id);
        manager.open(id, leaf, proof);
        assertEq(manager.deployment(id).stateRoot, leaf.stateRoot);
        assertFalse(manager.deployment(id).lease.finalOpen);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.TooEarly.selector, _now() + OPEN_WINDOW));
        manager.finish(id);
    }

    function test_the_final_leaf_is_opened_within_its_window_or_never() public {
        uint256 id = _run();
        _stop(id);
        uint64 over = _now() + OPEN_WINDOW;
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        _until(over + 1);
        _refusesLeaf(leaf, proof, abi.encodeWithSelector(IDaeeManager.TooLate.selector, over));
        IDaeeManager.Checkpoint memory late = _next(id);
        proof = _anchorLeaf(late);
        _refusesLeaf(late, proof, abi.encodeWithSelector(IDaeeManager.TooLate.selector, over));
    }

    function test_the_escrow_is_held_while_a_lease_is_closing() public {
        uint256 id = _run();
        _pass(INTERVAL);
        _anchor(alpha);
        _pass(20);
        _stop(id);
        assertEq(manager.claimable(tenant), 0);
        vm.startPrank(tenant);
        bytes memory closing = abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Closing);
        vm.expectRevert(closing);
        manager.stop(id);
        vm.expectRevert(closing);
        manager.update(id, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2, ARTIFACT_BYTES);
        vm.expectRevert(closing);
        manager.refuseUpdate(id);
        vm.stopPrank();
        vm.expectRevert(closing);
        manager.expire(id);
        vm.expectRevert(closing);
        manager.assign(id);
        _settle(id);
        assertEq(_paid(id), 0);
        assertEq(manager.deployment(id).balance, PAYMENT - FEE);
    }

    function test_a_lease_stopped_before_it_started_is_paid_nothing_and_waits_for_nothing() public {
        uint256 id = _lease();
        _anchor(alpha);
        _pass(INTERVAL);
        _anchor(alpha);
        _stop(id);
        _anchorAndOpen(id);
        manager.finish(id);
        assertEq(_paid(id), 0);
        assertEq(manager.claimable(tenant), PAYMENT - FEE);
    }

    function test_what_ended_frees_capacity_at_once_and_the_bond_after_its_tail() public {
        uint256 id = _run();
        _stop(id);
        _anchorAndOpen(id);
        manager.finish(id);
        assertEq(_node(alpha).cpuUsed, 0);
        assertEq(_node(alpha).locked, BOND);
        _pass(TAIL);
        registry.releaseTails(alpha);
        _assertFree(alpha);
    }

    function test_nothing_is_finished_that_is_not_closing_nor_finished_twice() public {
        uint256 id = _run();
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Leased));
        manager.finish(id);
        _stop(id);
        _anchorAndOpen(id);
        manager.finish(id);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Closed));
        manager.finish(id);
        assertEq(token.balanceOf(address(manager)), manager.claimable(tenant) + manager.claimable(_ownerOf("alpha")));
    }

    // ---- expire ------------------------------------------------------------------------------------

    function test_a_silent_node_loses_its_lease_and_a_tenth_of_its_bond() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory last = _anchorAndOpenAfter(id, INTERVAL);
        _pass(INTERVAL + GRACE + 1);
        uint256 supply = token.totalSupply();
        vm.expectEmit();
        emit IDaeeManager.Expired(id, alpha, BOND / 10, BOND / 100, stranger);
        vm.prank(stranger);
        manager.expire(id);
        assertEq(_node(alpha).stake, STAKE - BOND / 10);
        assertEq(_node(alpha).locked, BOND - BOND / 10);
        assertEq(token.balanceOf(stranger), BOND / 100);
        assertEq(supply - token.totalSupply(), BOND / 10 - BOND / 100);
        assertEq(_paid(id), INTERVAL * uint256(RATE));
        // The deployment goes on from the last opened root, with what is left.
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        assertEq(manager.deployment(id).stateRoot, last.stateRoot);
        assertEq(manager.deployment(id).balance, PAYMENT - FEE - _paid(id));
        _lease(id, beta);
        _anchorAndOpen(id);
        assertEq(manager.deployment(id).lease.seq, 1);
    }

    function test_an_outage_within_interval_and_grace_closes_nobodys_lease() public {
        uint256 id = _run();
        _pass(INTERVAL + GRACE);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotExpired.selector, _now()));
        manager.expire(id);
        _anchor(alpha);
        _pass(INTERVAL + GRACE);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotExpired.selector, _now()));
        manager.expire(id);
        // Nor does a longer one that nobody reported.
        _pass(1 hours);
        _anchor(alpha);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotExpired.selector, _now() + INTERVAL + GRACE));
        manager.expire(id);
    }

    function test_a_failed_start_is_burned_and_pays_nobody() public {
        uint256 id = _lease();
        uint64 until = _now() + START_WINDOW;
        _until(until);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotExpired.selector, until));
        manager.expire(id);
        _until(until + 1);
        uint256 supply = token.totalSupply();
        vm.prank(tenant);
        manager.expire(id);
        assertEq(supply - token.totalSupply(), BOND / 10);
        assertEq(manager.claimable(tenant), 0);
        assertEq(manager.deployment(id).balance, PAYMENT - FEE);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
    }

    function test_a_start_that_is_late_but_before_anyone_noticed_counts() public {
        uint256 id = _lease();
        _pass(START_WINDOW + 1);
        _anchorAndOpen(id);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotExpired.selector, _now() + INTERVAL + GRACE));
        manager.expire(id);
    }

    function test_a_node_that_anchors_but_never_opens_has_not_started() public {
        uint256 id = _lease();
        for (uint256 i = 0; i <= START_WINDOW / INTERVAL; i++) {
            _pass(INTERVAL);
            _anchor(alpha);
        }
        manager.expire(id);
        assertEq(_paid(id), 0);
    }

    function test_one_silence_ends_each_lease_of_the_node_on_its_own_terms() public {
        uint256 first = _run();
        IDaeeManager.Terms memory t = _terms();
        t.grace = 1 hours;
        uint256 patient = _lease(_deploy(t, PAYMENT), alpha);
        _anchorAndOpen(patient);
        _pass(INTERVAL + GRACE + 1);
        manager.expire(first);
        vm.expectPartialRevert(IDaeeManager.NotExpired.selector);
        manager.expire(patient);
        assertEq(_node(alpha).cpuUsed, 250);
    }

    function test_a_dropped_bid_is_slashed_for_nothing() public {
        uint256 id = _deploy();
        _bid(alpha, id, RATE);
        _bid(beta, id, RATE / 2);
        _assign(id);
        _pass(START_WINDOW + 1);
        manager.expire(id);
        assertEq(_node(alpha).stake, STAKE);
        assertEq(_node(beta).stake, STAKE - BOND / 10);
    }

    function test_nothing_expires_that_is_not_leased() public {
        uint256 id = _deploy();
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Bidding));
        manager.expire(id);
        _stop(id);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Closed));
        manager.expire(id);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.UnknownDeployment.selector, 5));
        manager.expire(5);
    }

    // ---- update of a lease -------------------------------------------------------------------------

    function test_an_update_waits_and_the_old_version_is_paid_until_a_leaf_of_the_new_one() public {
        uint256 id = _run();
        uint64 started = _now();
        vm.expectEmit();
        emit IDaeeManager.UpdateProposed(id, 2, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2);
        _update(id);
        assertEq(manager.deployment(id).version.artifactHash, ARTIFACT);
        assertEq(manager.deployment(id).pending.artifactHash, ARTIFACT_2);
        assertEq(manager.deployment(id).pendingUntil, _now() + START_WINDOW);
        _anchorAndOpenAfter(id, INTERVAL);
        assertEq(manager.deployment(id).version.number, 1);
        _openNew(id);
        IDaeeManager.Deployment memory d = manager.deployment(id);
        assertEq(d.version.number, 2);
        assertEq(d.version.manifestHash, manifest2);
        assertEq(d.pending.number, 0);
        _settle(id);
        assertEq(_paid(id), uint256(_now() - started) * RATE);
        // The old one is over.
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.artifactHash = ARTIFACT;
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refusesLeaf(leaf, proof, abi.encodeWithSelector(IDaeeManager.WrongArtifact.selector, ARTIFACT, ARTIFACT_2));
    }

    function test_an_update_of_the_manifest_alone_is_accepted_by_a_leaf_anchored_since() public {
        uint256 id = _run();
        _pass(10);
        IDaeeManager.Checkpoint memory before = _next(id);
        bytes32[] memory proof = _anchorLeaf(before);
        _pass(1);
        vm.prank(tenant);
        manager.update(id, _cid(ARTIFACT), ARTIFACT, BODY_2, ARTIFACT_BYTES);
        manager.open(id, before, proof);
        assertEq(manager.deployment(id).version.number, 1);
        _anchorAndOpenAfter(id, 1);
        assertEq(manager.deployment(id).version.number, 2);
        assertEq(manager.deployment(id).version.bodyHash, BODY_2);
    }

    function test_an_update_that_timed_out_is_accepted_no_more() public {
        uint256 id = _run();
        _update(id);
        _anchorAndOpenAfter(id, START_WINDOW + 1);
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.artifactHash = ARTIFACT_2;
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refusesLeaf(leaf, proof, abi.encodeWithSelector(IDaeeManager.WrongArtifact.selector, ARTIFACT_2, ARTIFACT));
        // The old version runs on, and is paid.
        _anchorAndOpenAfter(id, INTERVAL);
        assertGt(manager.due(id), 0);
    }

    function test_the_last_update_is_the_one_that_waits() public {
        uint256 id = _run();
        _update(id);
        bytes32 third = keccak256("artifact 3");
        vm.prank(tenant);
        manager.update(id, _cid(third), third, BODY, ARTIFACT_BYTES);
        assertEq(manager.deployment(id).pending.number, 3);
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.artifactHash = ARTIFACT_2;
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refusesLeaf(leaf, proof, abi.encodeWithSelector(IDaeeManager.WrongArtifact.selector, ARTIFACT_2, ARTIFACT));
    }

    function test_refusing_an_update_is_free_and_opens_bids_for_the_new_version() public {
        uint256 id = _run();
        _pass(20);
        _update(id);
        vm.prank(alpha);
        manager.refuseUpdate(id);
        _assertPhase(id, IDaeeManager.Phase.Closing);
        IDaeeManager.Checkpoint memory leaf = _anchorAndOpenAfter(id, 1);
        manager.finish(id);
        IDaeeManager.Deployment memory d = manager.deployment(id);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        assertEq(d.version.manifestHash, manifest2);
        assertEq(d.pending.number, 0);
        assertEq(d.stateRoot, leaf.stateRoot);
        assertEq(_node(alpha).stake, STAKE);
        assertEq(_paid(id), 20 * uint256(RATE));
        vm.prank(beta);
        manager.bid(id, RATE, manifest2);
        _assign(id);
        _anchorAndOpen(id);
        assertEq(manager.deployment(id).version.number, 2);
    }

    function test_a_refused_update_cannot_be_accepted_after_all() public {
        uint256 id = _run();
        _update(id);
        vm.prank(alpha);
        manager.refuseUpdate(id);
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.artifactHash = ARTIFACT_2;
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refusesLeaf(leaf, proof, abi.encodeWithSelector(IDaeeManager.WrongArtifact.selector, ARTIFACT_2, ARTIFACT));
        _pass(OPEN_WINDOW + 1);
        manager.finish(id);
        assertEq(manager.deployment(id).version.manifestHash, manifest2);
    }

    function test_a_refusal_before_the_start_waits_for_nothing() public {
        uint256 id = _lease();
        _update(id);
        vm.prank(alpha);
        manager.refuseUpdate(id);
        manager.finish(id);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        assertEq(_node(alpha).stake, STAKE);
    }

    function test_only_the_lessee_refuses_and_only_an_update() public {
        uint256 id = _run();
        vm.expectRevert(IDaeeManager.NothingToDo.selector);
        vm.prank(alpha);
        manager.refuseUpdate(id);
        _update(id);
        address[3] memory others = [beta, tenant, stranger];
        for (uint256 i = 0; i < others.length; i++) {
            vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotLessee.selector, others[i]));
            vm.prank(others[i]);
            manager.refuseUpdate(id);
        }
    }

    function test_a_lessee_that_lets_an_update_time_out_can_be_left_by_the_owner() public {
        uint256 id = _run();
        _update(id);
        uint64 until = manager.deployment(id).pendingUntil;
        _anchorAndOpenAfter(id, INTERVAL);
        _until(until);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotLessee.selector, tenant));
        vm.prank(tenant);
        manager.refuseUpdate(id);
        _until(until + 1);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotLessee.selector, stranger));
        vm.prank(stranger);
        manager.refuseUpdate(id);
        vm.prank(tenant);
        manager.refuseUpdate(id);
        _anchorAndOpenAfter(id, 1);
        manager.finish(id);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        assertEq(manager.deployment(id).version.manifestHash, manifest2);
        assertEq(_node(alpha).stake, STAKE);
    }

    function test_an_update_that_waits_when_the_node_dies_is_offered_to_the_next() public {
        uint256 id = _run();
        _update(id);
        _pass(INTERVAL + GRACE + 1);
        manager.expire(id);
        assertEq(manager.deployment(id).version.manifestHash, manifest2);
        assertEq(manager.deployment(id).pending.number, 0);
    }

    function test_an_update_that_had_timed_out_when_the_node_dies_is_dropped() public {
        uint256 id = _run();
        _update(id);
        _pass(START_WINDOW + 1);
        manager.expire(id);
        assertEq(manager.deployment(id).version.manifestHash, manifest);
        assertEq(manager.deployment(id).pending.number, 0);
        // So the next lessee has no free exit.
        _lease(id, beta);
        vm.expectRevert(IDaeeManager.NothingToDo.selector);
        vm.prank(beta);
        manager.refuseUpdate(id);
    }

    function test_a_node_that_switched_may_show_it_in_its_final_leaf() public {
        uint256 id = _run();
        _update(id);
        _stop(id);
        _pass(1);
        _openNew(id);
        assertTrue(manager.deployment(id).lease.finalOpen);
        manager.finish(id);
        _assertPhase(id, IDaeeManager.Phase.Closed);
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _anchorAndOpenAfter(uint256 id, uint256 time) private returns (IDaeeManager.Checkpoint memory) {
        _pass(time);
        return _anchorAndOpen(id);
    }

    function _openNew(uint256 id) private {
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.artifactHash = ARTIFACT_2;
        leaf.stateRoot = "of the new version";
        _anchorAndOpen(leaf);
    }

    function _refusesLeaf(IDaeeManager.Checkpoint memory leaf, bytes32[] memory proof, bytes memory why) private {
        vm.expectRevert(why);
        manager.open(leaf.deployment, leaf, proof);
    }
}
