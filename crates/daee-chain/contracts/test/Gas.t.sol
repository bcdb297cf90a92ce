// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {Market} from "./Market.sol";

/// @notice Every call that somebody pays for, in a market that has run for a while: `forge test --isolate --gas-report
/// --match-contract GasTest` shows what each cost in a transaction of its own. Figures, not assertions; `cargo xtask
/// bench gas` has those of calls as accounts send them, which Anvil has judged.
contract GasTest is Market {
    /// A market that has run for a while: no counter and no account of it is at zero.
    function setUp() public override {
        super.setUp();
        uint256 id = _run();
        for (uint256 i = 0; i < 70; i++) {
            _pass(INTERVAL);
            _anchor(alpha);
            _anchor(beta);
        }
        _settle(id);
        _stop(_deploy());
    }

    function test_the_life_of_a_deployment() public {
        address alphaOwner = _ownerOf("alpha");
        uint256 id = _deploy();
        _bid(alpha, id, RATE);
        _bid(beta, id, RATE / 2);
        _bid(alpha, id, RATE / 3);
        _assign(id);
        bytes32 epoch = manager.deployment(id).lease.epoch;
        _anchorAndOpen(id);
        for (uint256 i = 0; i < 5; i++) {
            _pass(INTERVAL);
            _anchorAndOpen(id);
            _settle(id);
            vm.prank(alpha);
            outbox.publish(id, epoch, uint64(i), "price-eth-usd", abi.encode(i));
        }
        vm.prank(alphaOwner);
        manager.withdraw(alphaOwner);
        vm.prank(alphaOwner);
        manager.topUp(id, 1e18);
        _update(id);
        _stop(id);
        _pass(1);
        _anchorAndOpen(id);
        manager.finish(id);
        vm.prank(tenant);
        manager.withdraw(tenant);
        vm.prank(alphaOwner);
        registry.stake(alpha, 1e18);
        _pass(TAIL);
        vm.prank(alphaOwner);
        registry.unstake(alpha, 2e18);
        _pass(UNBOND);
        vm.prank(alphaOwner);
        registry.withdrawStake(alpha);
    }

    function test_a_lease_that_is_lost() public {
        uint256 id = _run();
        _pass(INTERVAL + GRACE + 1);
        vm.prank(stranger);
        manager.expire(id);
        _lease(id, beta);
        _update(id);
        vm.prank(beta);
        manager.refuseUpdate(id);
    }

    function test_a_tree_of_a_thousand_leases() public {
        uint256 id = _lease();
        (uint256[] memory ids, bytes32[] memory hashes) = (new uint256[](1_000), new bytes32[](1_000));
        IDaeeManager.Checkpoint memory leaf = _next(id);
        for (uint256 i = 0; i < ids.length; i++) (ids[i], hashes[i]) = (id + i, keccak256(abi.encode(i)));
        hashes[0] = manager.leafHash(leaf);
        bytes32 root = _rootOf(ids, hashes);
        vm.prank(alpha);
        manager.anchor(root);
        manager.open(id, leaf, _proofOf(ids, hashes, 0));
    }
}
