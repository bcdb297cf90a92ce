// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {IManager} from "./Contracts.sol";
import {Market} from "./Market.sol";
import {CallsBack, KeepsAPart} from "./Tokens.sol";

/// @notice deploy, topUp, withdraw, and update while nobody has the lease.
contract DeployTest is Market {
    function test_a_deployment_holds_what_was_paid_less_the_fee_that_is_burned() public {
        uint256 supply = token.totalSupply();
        vm.expectEmit();
        emit IDaeeManager.Deployed(1, tenant, AGENT, _cid(ARTIFACT), ARTIFACT, BODY, manifest, PAYMENT);
        uint256 id = _deploy();
        IDaeeManager.Deployment memory d = manager.deployment(id);
        assertEq(id, 1);
        assertEq(d.owner, tenant);
        assertEq(d.agentId, AGENT);
        assertEq(d.balance, PAYMENT - FEE);
        assertEq(d.bidsClose, _now() + BID_WINDOW);
        assertEq(d.version.artifactHash, ARTIFACT);
        assertEq(d.version.bodyHash, BODY);
        assertEq(d.version.manifestHash, manifest);
        assertEq(d.version.number, 1);
        assertEq(d.stateRoot, 0);
        _assertPhase(id, IDaeeManager.Phase.Bidding);
        assertEq(supply - token.totalSupply(), FEE);
        assertEq(token.balanceOf(address(manager)), PAYMENT - FEE);
        assertEq(_deploy(), 2);
    }

    function test_a_cid_that_is_not_the_hash_is_refused() public {
        _refusesCid(_cid(ARTIFACT_2), abi.encodeWithSelector(IDaeeManager.CidIsNotTheHash.selector, ARTIFACT_2, ARTIFACT));
    }

    function test_only_a_raw_sha256_block_has_a_cid_that_a_contract_can_check() public {
        bytes memory why = abi.encodeWithSelector(IDaeeManager.CidNotRawSha256.selector);
        _refusesCid("", why);
        _refusesCid(abi.encodePacked(ARTIFACT), why);
        _refusesCid(abi.encodePacked(hex"1220", ARTIFACT), why);
        _refusesCid(abi.encodePacked(hex"01701220", ARTIFACT), why);
        _refusesCid(abi.encodePacked(hex"01551b20", ARTIFACT), why);
        _refusesCid(abi.encodePacked(_cid(ARTIFACT), bytes1(0)), why);
        _refusesCid(abi.encodePacked(hex"01551220", bytes31(ARTIFACT)), why);
    }

    function test_terms_that_no_node_could_keep_are_refused() public {
        IDaeeManager.Terms memory t;
        (t = _terms()).cpuMilli = 0;
        _refusesTerms(t, "cpuMilli");
        (t = _terms()).memMiB = 0;
        _refusesTerms(t, "memMiB");
        (t = _terms()).policy = 1;
        _refusesTerms(t, "policy");
        (t = _terms()).tier = 1;
        _refusesTerms(t, "tier");
        (t = _terms()).artifactBytes = 0;
        _refusesTerms(t, "artifactBytes");
        (t = _terms()).bidWindow = 59;
        _refusesTerms(t, "bidWindow");
        (t = _terms()).bidWindow = 7 days + 1;
        _refusesTerms(t, "bidWindow");
        (t = _terms()).startWindow = 0;
        _refusesTerms(t, "startWindow");
        (t = _terms()).startWindow = 1 days + 1;
        _refusesTerms(t, "startWindow");
        (t = _terms()).interval = 9;
        _refusesTerms(t, "interval");
        (t = _terms()).interval = 1 days + 1;
        _refusesTerms(t, "interval");
        (t = _terms()).grace = 0;
        _refusesTerms(t, "grace");
        (t = _terms()).grace = 7 days + 1;
        _refusesTerms(t, "grace");
        (t = _terms()).openWindow = 0;
        _refusesTerms(t, "openWindow");
        (t = _terms()).openWindow = 7 days + 1;
        _refusesTerms(t, "openWindow");
        (t = _terms()).rateMax = 0;
        _refusesTerms(t, "rateMax");
        (t = _terms()).rateMax = uint128(type(uint96).max) + 1;
        _refusesTerms(t, "rateMax");
    }

    function test_an_artifact_over_a_mebibyte_is_refused() public {
        IDaeeManager.Terms memory t = _terms();
        t.artifactBytes = 1 << 20;
        assertEq(_deploy(t, PAYMENT), 1);
        t.artifactBytes += 1;
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.ArtifactTooLarge.selector, (1 << 20) + 1, 1 << 20));
        _deploy(t, PAYMENT);
    }

    function test_an_agent_has_a_name_of_bounded_length() public {
        string[2] memory wrong = ["", string(new bytes(193))];
        for (uint256 i = 0; i < wrong.length; i++) {
            vm.expectRevert(abi.encodeWithSelector(IDaeeManager.BadTerms.selector, "agentId"));
            vm.prank(tenant);
            manager.deploy(wrong[i], _cid(ARTIFACT), ARTIFACT, BODY, _terms(), PAYMENT);
        }
    }

    function test_a_payment_below_fee_and_runway_is_refused_and_nothing_is_taken() public {
        uint256 minimum = FEE + uint256(RATE_MAX) * RUNWAY;
        assertEq(manager.minimumPayment(_terms()), minimum);
        uint256 before = token.balanceOf(tenant);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.PaymentBelowMinimum.selector, minimum - 1, minimum));
        _deploy(_terms(), uint128(minimum - 1));
        assertEq(token.balanceOf(tenant), before);
        _deploy(_terms(), uint128(minimum));
        assertEq(token.balanceOf(tenant), before - minimum);
    }

    function test_a_payment_that_the_tenant_has_not_is_refused() public {
        vm.prank(tenant);
        token.approve(address(manager), PAYMENT - 1);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(manager), PAYMENT - 1, PAYMENT));
        _deploy();
    }

    function test_a_token_that_keeps_a_part_of_a_transfer_is_not_taken_for_pay() public {
        KeepsAPart part = new KeepsAPart(tenant);
        IManager other = _newManager(part, registry, Params(pauser, BOND_MIN, 0, RUNWAY, 60, 10));
        vm.startPrank(tenant);
        part.approve(address(other), type(uint256).max);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.PaymentBelowMinimum.selector, PAYMENT - PAYMENT / 100, PAYMENT));
        other.deploy(AGENT, _cid(ARTIFACT), ARTIFACT, BODY, _terms(), PAYMENT);
        vm.stopPrank();
    }

    /// The token is trusted to have no hooks; if it had, state would still stand before each call to it.
    function test_a_token_that_calls_back_finds_the_books_closed() public {
        CallsBack hook = new CallsBack(tenant);
        IManager other = _newManager(hook, registry, Params(pauser, BOND_MIN, 0, RUNWAY, 60, 10));
        vm.startPrank(tenant);
        hook.approve(address(other), type(uint256).max);
        uint256 id = other.deploy(AGENT, _cid(ARTIFACT), ARTIFACT, BODY, _terms(), PAYMENT);
        other.stop(id);
        hook.callBack(address(other), abi.encodeCall(IDaeeManager.settle, (_list(id))));
        assertEq(other.withdraw(tenant), PAYMENT);
        assertTrue(hook.accepted());
        // The account that is called back can take nothing twice, since its claim is spent before the transfer.
        hook.transfer(address(hook), 1e18);
        vm.stopPrank();
        vm.startPrank(address(hook));
        hook.approve(address(other), type(uint256).max);
        id = other.deploy(AGENT, _cid(ARTIFACT), ARTIFACT, BODY, _small(), 1e18);
        other.stop(id);
        vm.stopPrank();
        hook.callBack(address(other), abi.encodeCall(IDaeeManager.withdraw, (address(hook))));
        vm.prank(address(hook));
        assertEq(other.withdraw(address(hook)), 1e18);
        assertFalse(hook.accepted());
        assertEq(hook.balanceOf(address(other)), 0);
    }

    // ---- topUp and withdraw ------------------------------------------------------------------------

    function test_anyone_may_top_up_what_is_not_ending() public {
        uint256 id = _run();
        address alphaOwner = _ownerOf("alpha");
        vm.prank(alphaOwner);
        manager.topUp(id, 7e18);
        assertEq(manager.deployment(id).balance, PAYMENT - FEE + 7e18);
        _stop(id);
        _refusesTopUp(id, IDaeeManager.Phase.Closing);
        _anchorAndOpen(id);
        manager.finish(id);
        _refusesTopUp(id, IDaeeManager.Phase.Closed);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.UnknownDeployment.selector, 9));
        vm.prank(tenant);
        manager.topUp(9, 1);
    }

    function test_an_escrow_cannot_grow_past_its_type() public {
        uint256 id = _deploy();
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        vm.prank(tenant);
        manager.topUp(id, type(uint128).max);
    }

    function test_a_claim_is_paid_once_and_to_its_holder() public {
        uint256 id = _deploy();
        _stop(id);
        vm.expectRevert(IDaeeManager.NothingToDo.selector);
        vm.prank(stranger);
        manager.withdraw(stranger);
        vm.prank(tenant);
        assertEq(manager.withdraw(stranger), PAYMENT - FEE);
        assertEq(token.balanceOf(stranger), PAYMENT - FEE);
        assertEq(token.balanceOf(address(manager)), 0);
        vm.expectRevert(IDaeeManager.NothingToDo.selector);
        vm.prank(tenant);
        manager.withdraw(tenant);
    }

    function test_a_claim_sent_to_nobody_stays() public {
        uint256 id = _deploy();
        _stop(id);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InvalidReceiver.selector, address(0)));
        vm.prank(tenant);
        manager.withdraw(address(0));
        assertEq(manager.claimable(tenant), PAYMENT - FEE);
    }

    // ---- stop and update without a lessee ----------------------------------------------------------

    function test_only_the_owner_stops_or_updates() public {
        uint256 id = _run();
        bytes memory why = abi.encodeWithSelector(IDaeeManager.NotOwner.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(why);
        manager.stop(id);
        vm.expectRevert(why);
        manager.update(id, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2, ARTIFACT_BYTES);
        vm.stopPrank();
    }

    function test_a_stop_while_bids_are_open_frees_the_bidder_and_refunds_all() public {
        uint256 id = _deploy();
        _bid(alpha, id, RATE);
        _stop(id);
        _assertPhase(id, IDaeeManager.Phase.Closed);
        _assertFree(alpha);
        assertEq(manager.claimable(tenant), PAYMENT - FEE);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, IDaeeManager.Phase.Closed));
        _stop(id);
    }

    function test_an_update_while_bids_are_open_is_offered_at_once_to_bidders_who_verified_it() public {
        uint256 id = _deploy();
        _bid(alpha, id, RATE);
        _pass(BID_WINDOW - 1);
        _update(id);
        _assertFree(alpha);
        IDaeeManager.Deployment memory d = manager.deployment(id);
        assertEq(d.version.manifestHash, manifest2);
        assertEq(d.version.number, 2);
        assertEq(d.pending.number, 0);
        assertEq(d.bidsClose, _now() + BID_WINDOW);
        assertEq(d.balance, PAYMENT - 2 * FEE);
        // A bid that was under way when the update came in binds nobody.
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongManifest.selector, manifest, manifest2));
        _bid(alpha, id, RATE);
    }

    function test_an_update_is_checked_like_a_deployment() public {
        uint256 id = _deploy();
        vm.startPrank(tenant);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.CidIsNotTheHash.selector, ARTIFACT, ARTIFACT_2));
        manager.update(id, _cid(ARTIFACT), ARTIFACT_2, BODY_2, ARTIFACT_BYTES);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.ArtifactTooLarge.selector, 0, 1 << 20));
        manager.update(id, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2, 0);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.ArtifactTooLarge.selector, (1 << 20) + 1, 1 << 20));
        manager.update(id, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2, (1 << 20) + 1);
        vm.stopPrank();
    }

    function test_an_update_that_the_escrow_cannot_pay_is_refused() public {
        IDaeeManager.Terms memory t = _small();
        t.artifactBytes = 1;
        uint128 minimum = uint128(manager.minimumPayment(t));
        uint256 id = _deploy(t, minimum);
        uint256 left = minimum - FEE_PER_BYTE;
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.PaymentBelowMinimum.selector, left, FEE));
        _update(id);
    }

    // ---- pausing -----------------------------------------------------------------------------------

    function test_only_entries_can_be_paused_and_only_by_the_pauser() public {
        uint256 running = _run();
        uint256 bidding = _deploy();
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotOwner.selector, address(this)));
        manager.pause(true);
        vm.prank(pauser);
        manager.pause(true);

        bytes memory paused = abi.encodeWithSelector(Pausable.EnforcedPause.selector);
        vm.expectRevert(paused);
        _deploy();
        vm.expectRevert(paused);
        _bid(beta, bidding, RATE);

        _pass(INTERVAL);
        _anchorAndOpen(running);
        _settle(running);
        vm.prank(tenant);
        manager.topUp(running, 1e18);
        _update(running);
        vm.prank(alpha);
        manager.refuseUpdate(running);
        _anchorAndOpen(running);
        manager.finish(running);
        _assign(running);
        _stop(bidding);
        _stop(running);
        vm.prank(tenant);
        manager.withdraw(tenant);

        vm.prank(pauser);
        manager.pause(false);
        _bid(beta, _deploy(), RATE);
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _small() private pure returns (IDaeeManager.Terms memory t) {
        t = _terms();
        t.rateMax = 1;
    }

    function _refusesCid(bytes memory cid, bytes memory why) private {
        vm.expectRevert(why);
        vm.prank(tenant);
        manager.deploy(AGENT, cid, ARTIFACT, BODY, _terms(), PAYMENT);
    }

    function _refusesTerms(IDaeeManager.Terms memory terms, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.BadTerms.selector, field));
        _deploy(terms, PAYMENT);
    }

    function _refusesTopUp(uint256 id, IDaeeManager.Phase phase) private {
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.WrongPhase.selector, phase));
        vm.prank(tenant);
        manager.topUp(id, 1);
    }
}
