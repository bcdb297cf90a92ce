// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {Market} from "./Market.sol";

/// @notice commitEvidence and reportEquivocation: MARKET rule 7.
contract EvidenceTest is Market {
    bytes32 private constant SALT = "salt";
    uint256 private id;
    uint256 private key;
    IDaeeManager.Checkpoint private a;
    IDaeeManager.Checkpoint private b;

    function setUp() public override {
        super.setUp();
        (, key) = makeAddrAndKey("alpha");
        id = _run();
        a = _next(id);
        b = a;
        b.stateRoot = "another story";
    }

    function test_two_signed_leaves_for_one_place_cost_the_bond_and_the_lease() public {
        uint256 supply = token.totalSupply();
        _pass(INTERVAL);
        _anchor(alpha);
        _commit(stranger);
        _report(stranger);
        assertEq(_node(alpha).stake, STAKE - BOND);
        assertEq(_node(alpha).locked, 0);
        assertEq(token.balanceOf(stranger), BOND / 10);
        assertEq(supply - token.totalSupply(), BOND - BOND / 10);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        // What the anchors had credited was paid; the tenant keeps the rest, and gets nothing of the bond.
        assertEq(_paid(id), INTERVAL * uint256(RATE));
        assertEq(manager.deployment(id).balance, PAYMENT - FEE - _paid(id));
        assertEq(manager.claimable(tenant), 0);
    }

    function test_one_epoch_is_punished_once() public {
        _commit(stranger);
        _report(stranger);
        b.stateRoot = "a third story";
        _commit(stranger);
        _refuses(stranger, "counted already");
    }

    function test_evidence_finds_the_bond_after_the_lease_while_its_tail_lasts() public {
        _stop(id);
        _anchorAndOpen(id);
        manager.finish(id);
        _pass(TAIL - 1);
        registry.releaseTails(alpha);
        _commit(stranger);
        _report(stranger);
        assertEq(_node(alpha).stake, STAKE - BOND);
        _assertPhase(id, IDaeeManager.Phase.Closed);
    }

    function test_evidence_after_the_tail_finds_nothing_to_take() public {
        _stop(id);
        _anchorAndOpen(id);
        manager.finish(id);
        _pass(TAIL);
        registry.releaseTails(alpha);
        _commit(stranger);
        _report(stranger);
        assertEq(_node(alpha).stake, STAKE);
        assertEq(token.balanceOf(stranger), 0);
    }

    function test_fraud_of_an_earlier_lease_leaves_the_present_one_alone() public {
        _pass(INTERVAL + GRACE + 1);
        manager.expire(id);
        _lease(id, beta);
        _commit(stranger);
        _report(stranger);
        _assertPhase(id, IDaeeManager.Phase.Leased);
        assertEq(_node(beta).stake, STAKE);
        assertEq(_node(alpha).stake, STAKE - BOND);
        // A tenth of what was left after the expiry, no more.
        assertEq(token.balanceOf(stranger), (BOND - BOND / 10) / 10);
    }

    function test_fraud_while_a_stopped_lease_closes_closes_it() public {
        _stop(id);
        _commit(stranger);
        _report(stranger);
        _assertPhase(id, IDaeeManager.Phase.Closed);
        assertEq(manager.claimable(tenant), PAYMENT - FEE);
    }

    function test_fraud_while_a_refused_lease_closes_opens_bids_for_the_update() public {
        _update(id);
        vm.prank(alpha);
        manager.refuseUpdate(id);
        _commit(stranger);
        _report(stranger);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        assertEq(manager.deployment(id).version.manifestHash, manifest2);
        assertEq(manager.claimable(tenant), 0);
    }

    function test_a_node_that_reports_itself_loses_nine_tenths() public {
        _commit(alpha);
        _report(alpha);
        assertEq(token.balanceOf(alpha), BOND / 10);
        assertEq(_node(alpha).stake, STAKE - BOND);
    }

    function test_evidence_is_committed_in_an_earlier_block_by_who_reports_it() public {
        _refuses(stranger, "commit first, reveal in a later block");
        bytes32 commitment = _commitment(stranger);
        vm.prank(stranger);
        manager.commitEvidence(commitment);
        _refuses(stranger, "commit first, reveal in a later block");
        _pass(1);
        // Whoever copies the report from the pool has committed to nothing.
        _refuses(beta, "commit first, reveal in a later block");
        _report(stranger);
    }

    function test_a_commitment_copied_by_another_still_serves_its_author() public {
        bytes32 commitment = _commitment(stranger);
        vm.prank(beta);
        manager.commitEvidence(commitment);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotEvidence.selector, "committed already"));
        vm.prank(stranger);
        manager.commitEvidence(commitment);
        _pass(1);
        _refuses(beta, "commit first, reveal in a later block");
        _report(stranger);
    }

    function test_leaves_for_different_places_are_no_evidence() public {
        b.seq += 1;
        _commit(stranger);
        _refuses(stranger, "different places");
        b.seq = a.seq;
        b.epoch = "another";
        _commit(stranger);
        _refuses(stranger, "different places");
        b.epoch = a.epoch;
        b.deployment = id + 1;
        _commit(stranger);
        _refuses(stranger, "different places");
    }

    function test_a_leaf_is_no_evidence_against_itself() public {
        b = a;
        _commit(stranger);
        _refuses(stranger, "the same leaf");
    }

    function test_only_what_the_lessee_signed_counts() public {
        _commit(stranger);
        (, uint256 other) = makeAddrAndKey("beta");
        (bytes memory good, bytes memory wrong) = (_signed(a, key), _signed(b, other));
        _refuses(good, wrong, "not the lessee's signatures");
        _refuses(good, good, "not the lessee's signatures");
        _refuses(good, "", "not the lessee's signatures");
        _refuses(good, new bytes(65), "not the lessee's signatures");
        _refuses(good, _highS(_signed(b, key)), "not the lessee's signatures");
    }

    function test_leaves_of_an_epoch_that_never_was_are_no_evidence() public {
        (a.epoch, b.epoch) = ("never", "never");
        _commit(stranger);
        _refuses(stranger, "no such lease");
    }

    /// A node could else spend the one report of its epoch on a deployment where it has no bond.
    function test_leaves_that_name_another_deployment_are_no_evidence() public {
        uint256 other = _deploy();
        (a.deployment, b.deployment) = (other, other);
        _commit(stranger);
        _refuses(stranger, "no such lease");
        (a.deployment, b.deployment) = (id, id);
        _commit(stranger);
        _report(stranger);
        assertEq(_node(alpha).stake, STAKE - BOND);
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _commitment(address reporter) private view returns (bytes32) {
        return keccak256(abi.encode(reporter, manager.leafHash(a), manager.leafHash(b), SALT));
    }

    function _commit(address reporter) private {
        bytes32 commitment = _commitment(reporter);
        vm.prank(reporter);
        manager.commitEvidence(commitment);
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _report(address reporter) private {
        (bytes memory signatureA, bytes memory signatureB) = (_signed(a, key), _signed(b, key));
        vm.prank(reporter);
        manager.reportEquivocation(a, signatureA, b, signatureB, SALT);
    }

    function _refuses(address reporter, string memory why) private {
        (bytes memory signatureA, bytes memory signatureB) = (_signed(a, key), _signed(b, key));
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotEvidence.selector, why));
        vm.prank(reporter);
        manager.reportEquivocation(a, signatureA, b, signatureB, SALT);
    }

    function _refuses(bytes memory signatureA, bytes memory signatureB, string memory why) private {
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotEvidence.selector, why));
        vm.prank(stranger);
        manager.reportEquivocation(a, signatureA, b, signatureB, SALT);
    }

    function _signed(IDaeeManager.Checkpoint memory leaf, uint256 signer) private view returns (bytes memory) {
        return _sign(signer, keccak256(abi.encodePacked(hex"1901", manager.domainSeparator(), manager.leafHash(leaf))));
    }
}
