// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {IRegistry} from "./Contracts.sol";
import {Market} from "./Market.sol";
import {KeepsAPart} from "./Tokens.sol";

contract RegistryTest is Market {
    address private immutable owner = makeAddr("delta owner");
    address private operator;
    uint256 private key;

    function setUp() public override {
        super.setUp();
        (operator, key) = makeAddrAndKey("delta");
        _fund(owner);
    }

    // ---- register ----------------------------------------------------------------------------------

    function test_a_node_is_known_by_its_operator_and_paid_to_its_owner() public {
        _register(STAKE, _consent(operator, key, owner));
        INodeRegistry.Node memory n = _node(operator);
        assertEq(n.owner, owner);
        assertEq(n.stake, STAKE);
        assertEq(n.anchorInterval, INTERVAL);
        assertEq(n.endpoint, "https://delta.example");
        assertEq(registry.ownerOf(operator), owner);
        assertEq(token.balanceOf(address(registry)), 4 * uint256(STAKE));
    }

    function test_an_operator_that_owns_itself_need_not_consent() public {
        _fund(operator);
        vm.prank(operator);
        registry.register(operator, 1, 1, 0, INTERVAL, "", STAKE_MIN, "");
        assertEq(registry.ownerOf(operator), operator);
    }

    function test_nobody_is_made_an_operator_without_its_signature() public {
        bytes memory forOther = _consent(operator, key, stranger);
        (, uint256 otherKey) = makeAddrAndKey("not delta");
        bytes memory byOther = _consent(operator, otherKey, owner);
        bytes memory highS = _highS(_consent(operator, key, owner));
        bytes memory why = abi.encodeWithSelector(INodeRegistry.ConsentMissing.selector, operator);
        _refuses(why, STAKE, "");
        _refuses(why, STAKE, hex"00");
        _refuses(why, STAKE, new bytes(65));
        _refuses(why, STAKE, forOther);
        _refuses(why, STAKE, byOther);
        _refuses(why, STAKE, highS);
    }

    function test_the_zero_account_operates_nothing() public {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.ConsentMissing.selector, address(0)));
        vm.prank(owner);
        registry.register(address(0), 1, 1, 0, INTERVAL, "", STAKE, new bytes(65));
    }

    function test_an_operator_registers_once_and_for_good() public {
        bytes memory consent = _consent(operator, key, owner);
        _register(STAKE, consent);
        bytes memory why = abi.encodeWithSelector(INodeRegistry.AlreadyRegistered.selector, operator);
        _refuses(why, STAKE, consent);
        vm.prank(owner);
        registry.unstake(operator, STAKE);
        _pass(UNBOND);
        vm.prank(owner);
        registry.withdrawStake(operator);
        _refuses(why, STAKE, consent);
    }

    function test_a_stake_below_the_minimum_makes_no_node() public {
        bytes memory consent = _consent(operator, key, owner);
        _refuses(abi.encodeWithSelector(INodeRegistry.StakeBelowMinimum.selector, STAKE_MIN - 1, STAKE_MIN), STAKE_MIN - 1, consent);
    }

    function test_an_anchor_interval_is_neither_too_short_nor_over_a_day() public {
        bytes memory consent = _consent(operator, key, owner);
        uint32[3] memory wrong = [uint32(0), 9, 1 days + 1];
        for (uint256 i = 0; i < wrong.length; i++) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.BadInterval.selector, wrong[i]));
            vm.prank(owner);
            registry.register(operator, 1, 1, 0, wrong[i], "", STAKE, consent);
        }
    }

    function test_a_token_that_keeps_a_part_of_a_transfer_is_not_taken_for_stake() public {
        KeepsAPart part = new KeepsAPart(owner);
        IRegistry other = _newRegistry(part, pauser, STAKE_MIN, UNBOND, TAIL, 10);
        vm.startPrank(owner);
        part.approve(address(other), type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.StakeBelowMinimum.selector, STAKE - STAKE / 100, STAKE));
        other.register(owner, 1, 1, 0, INTERVAL, "", STAKE, "");
        vm.stopPrank();
    }

    function test_only_register_can_be_paused_and_only_by_the_pauser() public {
        bytes memory consent = _consent(operator, key, owner);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotOwner.selector, address(this)));
        registry.pause(true);
        vm.prank(pauser);
        registry.pause(true);
        _refuses(abi.encodeWithSelector(Pausable.EnforcedPause.selector), STAKE, consent);

        address alphaOwner = _ownerOf("alpha");
        vm.startPrank(alphaOwner);
        registry.stake(alpha, 1e18);
        registry.unstake(alpha, 2e18);
        _pass(UNBOND);
        registry.withdrawStake(alpha);
        vm.stopPrank();
        vm.prank(alpha);
        registry.setEndpoint("https://elsewhere.example");
        registry.releaseTails(alpha);

        vm.prank(pauser);
        registry.pause(false);
        _register(STAKE, consent);
    }

    function test_operators_are_listed_in_pages() public view {
        assertEq(registry.operators(0, 10).length, 3);
        assertEq(registry.operators(1, 1)[0], beta);
        assertEq(registry.operators(2, type(uint256).max)[0], gamma);
        assertEq(registry.operators(3, 1).length, 0);
        assertEq(registry.operators(type(uint256).max, type(uint256).max).length, 0);
    }

    // ---- stake -------------------------------------------------------------------------------------

    function test_stake_leaves_after_the_unbonding_time_and_not_before() public {
        address alphaOwner = _ownerOf("alpha");
        uint256 before = token.balanceOf(alphaOwner);
        vm.prank(alphaOwner);
        registry.unstake(alpha, 1e18);
        uint64 ready = _now() + UNBOND;
        _until(ready - 1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotReady.selector, ready));
        vm.prank(alphaOwner);
        registry.withdrawStake(alpha);
        _until(ready);
        vm.prank(alphaOwner);
        registry.withdrawStake(alpha);
        assertEq(token.balanceOf(alphaOwner), before + 1e18);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotReady.selector, ready));
        vm.prank(alphaOwner);
        registry.withdrawStake(alpha);
    }

    function test_a_second_unstake_restarts_the_time_of_the_first() public {
        address alphaOwner = _ownerOf("alpha");
        vm.prank(alphaOwner);
        registry.unstake(alpha, 1e18);
        _pass(UNBOND - 1);
        vm.prank(alphaOwner);
        registry.unstake(alpha, 1e18);
        _pass(1);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotReady.selector, _now() + UNBOND - 1));
        vm.prank(alphaOwner);
        registry.withdrawStake(alpha);
    }

    function test_what_a_bid_or_a_lease_or_its_tail_locks_cannot_be_unstaked() public {
        address alphaOwner = _ownerOf("alpha");
        uint256 id = _deploy();
        _bid(alpha, id, RATE);
        _mayUnstakeAllButTheBond(alphaOwner);
        _assign(id);
        _anchorAndOpen(id);
        _mayUnstakeAllButTheBond(alphaOwner);
        _stop(id);
        _anchorAndOpen(id);
        manager.finish(id);
        _mayUnstakeAllButTheBond(alphaOwner);
        _pass(TAIL);
        vm.prank(alphaOwner);
        registry.unstake(alpha, STAKE);
        assertEq(_node(alpha).stake, 0);
        _assertFree(alpha);
    }

    function test_only_the_owner_takes_stake_out() public {
        address[2] memory others = [alpha, stranger];
        for (uint256 i = 0; i < others.length; i++) {
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotOwner.selector, others[i]));
            vm.prank(others[i]);
            registry.unstake(alpha, 1);
            vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotOwner.selector, others[i]));
            vm.prank(others[i]);
            registry.withdrawStake(alpha);
        }
    }

    function test_anyone_may_add_stake_to_a_node_that_exists() public {
        vm.prank(tenant);
        registry.stake(alpha, 5e18);
        assertEq(_node(alpha).stake, STAKE + 5e18);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotRegistered.selector, stranger));
        vm.prank(tenant);
        registry.stake(stranger, 5e18);
    }

    function test_the_operator_alone_moves_its_endpoint() public {
        vm.prank(alpha);
        registry.setEndpoint("https://elsewhere.example");
        assertEq(_node(alpha).endpoint, "https://elsewhere.example");
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotRegistered.selector, stranger));
        vm.prank(stranger);
        registry.setEndpoint("https://mine.example");
    }

    // ---- the manager's calls -----------------------------------------------------------------------

    function test_the_managers_calls_are_the_managers() public {
        bytes memory why = abi.encodeWithSelector(INodeRegistry.NotManager.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(why);
        registry.reserve(alpha, 1, 1, 1, 0);
        vm.expectRevert(why);
        registry.release(alpha, 0, 0, 0, 0);
        vm.expectRevert(why);
        registry.endLease(alpha, "epoch", 0, 0, 0, 0);
        vm.expectRevert(why);
        registry.slash(alpha, "epoch", 1, stranger, 1);
        vm.stopPrank();
    }

    function test_the_manager_is_named_once_and_by_the_deployer() public {
        IRegistry other = _newRegistry(token, pauser, STAKE_MIN, UNBOND, TAIL, 10);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.NotOwner.selector, stranger));
        vm.prank(stranger);
        other.setManager(stranger);
        other.setManager(address(manager));
        vm.expectRevert(INodeRegistry.ManagerAlreadySet.selector);
        other.setManager(stranger);
    }

    function test_evidence_outlasts_no_unbonding() public {
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.BadInterval.selector, TAIL));
        _newRegistry(token, pauser, STAKE_MIN, TAIL, TAIL, 10);
    }

    // ---- tails and slashing ------------------------------------------------------------------------

    function test_a_tail_is_freed_when_its_time_is_over_and_not_before() public {
        _leases(1);
        uint64 until = registry.tails(alpha)[0].until;
        _until(until - 1);
        registry.releaseTails(alpha);
        assertEq(_node(alpha).locked, 1e18);
        _until(until);
        registry.releaseTails(alpha);
        assertEq(_node(alpha).locked, 0);
        assertEq(registry.tails(alpha).length, 0);
    }

    function test_a_slash_costs_the_same_however_many_tails_there_are() public {
        _leases(200);
        _slashGas(bytes32(uint256(0)));
        uint256 early = _slashGas(bytes32(uint256(1)));
        uint256 late = _slashGas(bytes32(uint256(199)));
        assertApproxEqAbs(late, early, 3_000);
    }

    function test_tails_are_freed_at_most_32_a_call() public {
        _leases(40);
        _pass(TAIL);
        registry.releaseTails(alpha);
        assertEq(_node(alpha).locked, 8e18);
        registry.releaseTails(alpha);
        assertEq(_node(alpha).locked, 0);
        registry.releaseTails(alpha);
        assertEq(_node(alpha).locked, 0);
    }

    function test_a_slash_takes_no_more_than_the_tail_and_pays_at_most_a_tenth() public {
        _leases(2);
        uint256 supply = token.totalSupply();
        vm.prank(address(manager));
        assertEq(registry.slash(alpha, bytes32(uint256(0)), 100e18, stranger, 100e18), 1e18);
        assertEq(token.balanceOf(stranger), 1e17);
        assertEq(supply - token.totalSupply(), 9e17);
        assertEq(_node(alpha).stake, STAKE - 1e18);
        assertEq(_node(alpha).locked, 1e18);
        vm.prank(address(manager));
        assertEq(registry.slash(alpha, bytes32(uint256(0)), 1, stranger, 1), 0);
        _pass(TAIL);
        registry.releaseTails(alpha);
        assertEq(_node(alpha).locked, 0);
        vm.prank(address(manager));
        assertEq(registry.slash(alpha, bytes32(uint256(1)), 1, stranger, 1), 0);
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _register(uint128 amount, bytes memory consent) private {
        vm.prank(owner);
        registry.register(operator, 1_000, 1_024, 0, INTERVAL, "https://delta.example", amount, consent);
    }

    function _refuses(bytes memory why, uint128 amount, bytes memory consent) private {
        vm.expectRevert(why);
        _register(amount, consent);
    }

    function _mayUnstakeAllButTheBond(address alphaOwner) private {
        assertEq(_node(alpha).locked, BOND);
        vm.expectRevert(abi.encodeWithSelector(INodeRegistry.StakeLocked.selector, STAKE - BOND, STAKE - BOND + 1));
        vm.prank(alphaOwner);
        registry.unstake(alpha, STAKE - BOND + 1);
    }

    /// Alpha had `count` leases of one token of bond each.
    function _leases(uint256 count) private {
        vm.startPrank(address(manager));
        for (uint256 i = 0; i < count; i++) {
            registry.reserve(alpha, 1e18, 1, 1, 0);
            registry.endLease(alpha, bytes32(i), 1e18, 1, 1, 0);
        }
        vm.stopPrank();
    }

    function _slashGas(bytes32 epoch) private returns (uint256 gas) {
        vm.prank(address(manager));
        gas = gasleft();
        registry.slash(alpha, epoch, 1e15, stranger, 0);
        gas -= gasleft();
    }
}
