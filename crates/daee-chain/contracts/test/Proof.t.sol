// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {AnchorTree} from "../src/lib/AnchorTree.sol";
import {Market} from "./Market.sol";

/// @notice anchor and open: MARKET rules 1 and 2.
contract ProofTest is Market {
    // ---- anchor ------------------------------------------------------------------------------------

    function test_an_anchor_credits_the_gap_and_never_more_than_the_interval() public {
        uint16[6] memory gaps = [uint16(0), 1, 59, 60, 61, 5_000];
        uint16[6] memory credits = [uint16(0), 1, 59, 60, 60, 60];
        _anchor(alpha);
        assertEq(manager.coverage(alpha).covered, 0, "the first");
        uint256 covered;
        for (uint256 i = 0; i < gaps.length; i++) {
            _pass(gaps[i]);
            _anchor(alpha);
            covered += credits[i];
            assertEq(manager.coverage(alpha).covered, covered);
        }
        assertEq(manager.coverage(alpha).anchors, 7);
        assertEq(manager.coverage(alpha).lastAnchor, _now());
        assertEq(manager.coverage(beta).covered, 0);
    }

    function test_a_root_repeated_credits_time_as_any_other_and_is_each_nodes_own() public {
        bytes32 root = _anchor(alpha);
        _pass(10);
        vm.prank(alpha);
        manager.anchor(root);
        assertEq(manager.anchoredAt(alpha, root), _now());
        assertEq(manager.coverage(alpha).covered, 10);
        assertEq(manager.anchoredAt(beta, root), 0);
    }

    function test_the_last_64_roots_of_a_node_are_kept() public {
        uint64 start = _now();
        for (uint256 i = 0; i < 130; i++) {
            vm.prank(alpha);
            manager.anchor(bytes32((i + 1) << 64));
            _pass(1);
        }
        for (uint256 i = 0; i < 130; i++) {
            assertEq(manager.anchoredAt(alpha, bytes32((i + 1) << 64)), i < 130 - 64 ? 0 : start + i);
        }
        assertEq(manager.anchoredAt(alpha, 0), 0);
        assertEq(manager.anchoredAt(stranger, 0), 0);
    }

    function test_a_leaf_is_opened_while_its_root_is_kept_and_not_after() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        for (uint256 i = 0; i < 63; i++) _anchor(alpha);
        uint256 kept = vm.snapshotState();
        manager.open(id, leaf, proof);
        vm.revertToState(kept);
        _anchor(alpha);
        vm.expectPartialRevert(IDaeeManager.NotAnchored.selector);
        manager.open(id, leaf, proof);
    }

    function test_only_a_registered_operator_anchors() public {
        address[2] memory others = [stranger, _ownerOf("alpha")];
        for (uint256 i = 0; i < others.length; i++) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotRegistered.selector, others[i]));
            vm.prank(others[i]);
            manager.anchor("root");
        }
    }

    // ---- open --------------------------------------------------------------------------------------

    function test_anyone_opens_an_anchored_leaf_and_the_state_moves_on() public {
        uint256 id = _lease();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        bytes32 hash = manager.leafHash(leaf);
        vm.expectEmit();
        emit IDaeeManager.Opened(id, leaf.epoch, 1, hash, leaf.stateRoot, leaf.logRoot, leaf.transcriptRoot);
        vm.prank(stranger);
        manager.open(id, leaf, proof);
        IDaeeManager.Deployment memory d = manager.deployment(id);
        assertEq(d.stateRoot, leaf.stateRoot);
        assertEq(d.lease.seq, 1);
        assertEq(d.lease.leafHash, hash);
        assertEq(d.lease.startedAt, _now());
    }

    function test_leaves_may_be_passed_over_but_never_gone_back_to() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory second = _next(id);
        bytes32[] memory proof = _anchorLeaf(second);
        IDaeeManager.Checkpoint memory fifth = _next(id);
        fifth.seq = 5;
        fifth.stateRoot = "five";
        _pass(1);
        _anchorAndOpen(fifth);
        _refuses(second, proof, abi.encodeWithSelector(IDaeeManager.SeqNotHigher.selector, 2, 5));
        fifth.preRoot = "five";
        bytes32[] memory again = _anchorLeaf(fifth);
        _refuses(fifth, again, abi.encodeWithSelector(IDaeeManager.SeqNotHigher.selector, 5, 5));
    }

    function test_a_leaf_that_does_not_follow_the_last_opened_root_is_refused() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.preRoot = "elsewhere";
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.WrongPreRoot.selector, bytes32("elsewhere"), manager.deployment(id).stateRoot));
    }

    function test_a_leaf_that_was_not_anchored_is_refused() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        leaf.stateRoot = "another";
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = manager.leafHash(leaf);
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.NotAnchored.selector, _rootOf(_list(id), hashes)));
    }

    function test_a_leaf_that_another_node_anchored_is_refused() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(beta, leaf);
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = manager.leafHash(leaf);
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.NotAnchored.selector, _rootOf(_list(id), hashes)));
    }

    function test_a_leaf_of_another_epoch_or_deployment_is_refused() public {
        uint256 id = _run();
        uint256 other = _lease(_deploy(), alpha);
        IDaeeManager.Checkpoint memory leaf = _next(other);
        bytes32[] memory proof = _anchorLeaf(leaf);
        bytes32 epoch = manager.deployment(id).lease.epoch;
        bytes memory why = abi.encodeWithSelector(IDaeeManager.StaleEpoch.selector, leaf.epoch, epoch);
        vm.expectRevert(why);
        manager.open(id, leaf, proof);
        leaf = _next(id);
        leaf.epoch = "made up";
        proof = _anchorLeaf(leaf);
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.StaleEpoch.selector, bytes32("made up"), epoch));
        leaf = _next(id);
        leaf.deployment = other;
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.StaleEpoch.selector, epoch, epoch));
        manager.open(id, leaf, proof);
    }

    function test_a_node_that_lost_its_lease_can_anchor_but_neither_open_nor_earn() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory old = _next(id);
        _pass(INTERVAL + GRACE + 1);
        manager.expire(id);
        _lease(id, beta);
        bytes32[] memory proof = _anchorLeaf(alpha, old);
        _refuses(old, proof, abi.encodeWithSelector(IDaeeManager.StaleEpoch.selector, old.epoch, manager.deployment(id).lease.epoch));
        IDaeeManager.Checkpoint memory forged = _next(id);
        proof = _anchorLeaf(alpha, forged);
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = manager.leafHash(forged);
        _refuses(forged, proof, abi.encodeWithSelector(IDaeeManager.NotAnchored.selector, _rootOf(_list(id), hashes)));
        _pass(INTERVAL);
        _anchor(alpha);
        _settle(id);
        assertEq(_paid(id), 0);
        assertEq(manager.claimable(_ownerOf("alpha")), 0);
    }

    function test_a_root_from_before_the_lease_opens_nothing() public {
        // The epoch cannot be known before its block; who makes the block is the exception.
        uint256 id = _deploy();
        _bid(alpha, id, RATE);
        _until(manager.deployment(id).bidsClose);
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.seq = 1;
        leaf.epoch = keccak256(abi.encode(bytes32("guess"), id, 1));
        leaf.artifactHash = ARTIFACT;
        bytes32[] memory proof = _anchorLeaf(alpha, leaf);
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = manager.leafHash(leaf);
        _pass(1);
        vm.setBlockhash(vm.getBlockNumber() - 1, "guess");
        manager.assign(id);
        assertEq(manager.deployment(id).lease.epoch, leaf.epoch, "guessed, as a block's maker could");
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.NotAnchored.selector, _rootOf(_list(id), hashes)));
    }

    function test_a_leaf_of_other_bytes_is_refused() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.artifactHash = ARTIFACT_2;
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.WrongArtifact.selector, ARTIFACT_2, ARTIFACT));
    }

    function test_a_leaf_may_claim_what_was_credited_and_no_more() public {
        uint256 id = _lease();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        leaf.coveredSeconds = 1;
        bytes32[] memory proof = _anchorLeaf(leaf);
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.CoverageOverstated.selector, 1, 0));
        _pass(1);
        _anchorAndOpen(id);
        _pass(INTERVAL);
        leaf = _next(id);
        leaf.coveredSeconds = INTERVAL + 1;
        proof = _anchorLeaf(leaf);
        _refuses(leaf, proof, abi.encodeWithSelector(IDaeeManager.CoverageOverstated.selector, INTERVAL + 1, INTERVAL));
        leaf.coveredSeconds = INTERVAL;
        proof = _anchorLeaf(leaf);
        manager.open(id, leaf, proof);
    }

    function test_nothing_is_opened_where_there_is_no_lease() public {
        uint256 id = _deploy();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Bidding));
        manager.open(id, leaf, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.UnknownDeployment.selector, 9));
        manager.open(9, leaf, new bytes32[](0));
        _stop(id);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Closed));
        manager.open(id, leaf, new bytes32[](0));
    }

    // ---- the tree ----------------------------------------------------------------------------------

    function test_every_leaf_of_a_tree_of_any_size_opens() public {
        uint256[] memory ids = new uint256[](7);
        for (uint256 i = 0; i < ids.length; i++) ids[i] = _lease(_deploy(), alpha);
        for (uint256 size = 1; size <= ids.length; size++) {
            (uint256[] memory some, bytes32[] memory hashes) = (new uint256[](size), new bytes32[](size));
            IDaeeManager.Checkpoint[] memory leaves = new IDaeeManager.Checkpoint[](size);
            for (uint256 i = 0; i < size; i++) {
                leaves[i] = _next(ids[i]);
                (some[i], hashes[i]) = (ids[i], manager.leafHash(leaves[i]));
            }
            bytes32 root = _rootOf(some, hashes);
            vm.prank(alpha);
            manager.anchor(root);
            for (uint256 i = 0; i < size; i++) manager.open(some[i], leaves[i], _proofOf(some, hashes, i));
            _pass(1);
        }
        assertEq(manager.deployment(ids[0]).lease.seq, 7);
        assertEq(manager.deployment(ids[6]).lease.seq, 1);
    }

    function test_a_proof_of_the_wrong_shape_proves_nothing() public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        (uint256[] memory ids, bytes32[] memory hashes) = (new uint256[](3), new bytes32[](3));
        (ids[0], ids[1], ids[2]) = (id, id + 1, id + 2);
        hashes[0] = manager.leafHash(leaf);
        bytes32 root = _rootOf(ids, hashes);
        vm.prank(alpha);
        manager.anchor(root);
        bytes32[] memory proof = _proofOf(ids, hashes, 0);
        bytes memory bad = abi.encodeWithSelector(AnchorTree.BadProof.selector);

        _refuses(leaf, new bytes32[](0), bad);
        _refuses(leaf, new bytes32[](1), bad);
        _refuses(leaf, new bytes32[](2), bad); // no leaf in a tree of none
        bytes32[] memory wrong = new bytes32[](proof.length - 1);
        for (uint256 i = 0; i < wrong.length; i++) wrong[i] = proof[i];
        _refuses(leaf, wrong, bad);
        wrong = new bytes32[](proof.length + 1);
        for (uint256 i = 0; i < proof.length; i++) wrong[i] = proof[i];
        _refuses(leaf, wrong, bad);
        wrong = _proofOf(ids, hashes, 0);
        wrong[0] = bytes32(uint256(3));
        _refuses(leaf, wrong, bad);
        wrong[0] = bytes32(type(uint256).max);
        _refuses(leaf, wrong, bad);
        wrong[1] = bytes32(type(uint256).max);
        _refuses(leaf, wrong, bad);
        // The count is in the root: the same path in a tree of four is another root.
        wrong = _proofOf(ids, hashes, 0);
        wrong[1] = bytes32(uint256(4));
        vm.expectPartialRevert(IDaeeManager.NotAnchored.selector);
        manager.open(id, leaf, wrong);
        manager.open(id, leaf, proof);
    }

    function test_an_inner_node_passes_for_no_leaf() public {
        // A tree whose only leaf is the word above two others has another root than theirs.
        (uint256[] memory two, bytes32[] memory hashes) = (new uint256[](2), new bytes32[](2));
        (two[0], two[1], hashes[0], hashes[1]) = (1, 2, "a", "b");
        bytes32 left = keccak256(abi.encodePacked(bytes1(0x00), two[0], hashes[0]));
        bytes32 right = keccak256(abi.encodePacked(bytes1(0x00), two[1], hashes[1]));
        bytes32[] memory inner = new bytes32[](1);
        inner[0] = right;
        assertNotEq(_rootOf(_list(uint256(left)), inner), _rootOf(two, hashes));
    }

    function testFuzz_a_changed_field_of_a_leaf_is_another_leaf(uint8 field, bytes32 to) public {
        uint256 id = _run();
        IDaeeManager.Checkpoint memory leaf = _next(id);
        bytes32[] memory proof = _anchorLeaf(leaf);
        bytes32 before = manager.leafHash(leaf);
        // Neither checked by itself nor stored: only the hash keeps them.
        field = uint8(bound(field, 0, 6));
        if (field == 0) leaf.prevLeafHash = to;
        else if (field == 1) leaf.turn = uint64(uint256(to));
        else if (field == 2) leaf.stateRoot = to;
        else if (field == 3) leaf.logRoot = to;
        else if (field == 4) leaf.transcriptRoot = to;
        else if (field == 5) leaf.runtimeVersion = uint32(uint256(to));
        else leaf.fuel = uint64(uint256(to));
        vm.assume(manager.leafHash(leaf) != before);
        vm.expectPartialRevert(IDaeeManager.NotAnchored.selector);
        manager.open(id, leaf, proof);
    }

    function _refuses(IDaeeManager.Checkpoint memory leaf, bytes32[] memory proof, bytes memory why) private {
        vm.expectRevert(why);
        manager.open(leaf.deployment, leaf, proof);
    }
}
