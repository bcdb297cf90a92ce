// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "forge-std/Test.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {IManager, IRegistry} from "./Contracts.sol";
import {Handler} from "./Handler.sol";

/// @notice The sentences above the contracts, after every call of a market in random use.
contract InvariantsTest is Test {
    Handler private handler;
    IERC20 private token;
    IRegistry private registry;
    IManager private manager;
    address private tenant;
    address private stranger;

    function setUp() public {
        handler = new Handler();
        (address t, address r, address m, address tenant_, address stranger_) = handler.parts();
        (token, registry, manager, tenant, stranger) = (IERC20(t), IRegistry(r), IManager(m), tenant_, stranger_);
        bytes4[] memory calls = new bytes4[](19);
        calls[0] = Handler.deploy.selector;
        calls[1] = Handler.bid.selector;
        calls[2] = Handler.assign.selector;
        calls[3] = Handler.settle.selector;
        calls[4] = Handler.stop.selector;
        calls[5] = Handler.finish.selector;
        calls[6] = Handler.topUp.selector;
        calls[7] = Handler.withdraw.selector;
        calls[8] = Handler.update.selector;
        calls[9] = Handler.refuse.selector;
        calls[10] = Handler.breakDown.selector;
        calls[11] = Handler.recover.selector;
        calls[12] = Handler.expire.selector;
        calls[13] = Handler.equivocate.selector;
        calls[14] = Handler.openLost.selector;
        calls[15] = Handler.openForeign.selector;
        calls[16] = Handler.unstake.selector;
        calls[17] = Handler.withdrawStake.selector;
        calls[18] = Handler.openLate.selector;
        targetContract(address(handler));
        targetSelector(FuzzSelector(address(handler), calls));
    }

    /// forge-config: default.invariant.runs = 4
    /// forge-config: default.invariant.depth = 500
    /// forge-config: default.invariant.fail-on-revert = true
    function invariant_the_books_are_right() public view {
        _theManagerHoldsEscrowsAndClaims();
        _theRegistryHoldsStakes();
        _nothingIsPaidBeyondAnchoredTime();
        _noTwoLeasesShareAnEpoch();
        _whatIsReservedIsWhatIsHeld();
        _onlyAnOpenedLeafMovesTheState();
    }

    /// An invariant that nothing tried to break holds for nothing. What forge cuts short, to show a failure, is no run.
    function afterInvariant() public view {
        if (handler.steps() < 500) return;
        string[23] memory all = [
            "deploy", "bid", "outbid", "bid refused", "assign", "relist", "anchor", "start", "open", "final leaf", "settle",
            "stop", "finish", "topUp", "withdraw", "update", "accept", "refuse", "expire", "equivocate", "theft refused", "unstake", "open late"
        ];
        for (uint256 i = 0; i < all.length; i++) assertGt(handler.did(all[i]), 0, string.concat("never happened: ", all[i]));
    }

    function _theManagerHoldsEscrowsAndClaims() private view {
        uint256 sum = manager.claimable(tenant) + manager.claimable(stranger);
        for (uint256 i = 0; i < 3; i++) sum += manager.claimable(handler.owners(i)) + manager.claimable(handler.nodes(i));
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) sum += manager.deployment(id).balance;
        assertEq(token.balanceOf(address(manager)), sum, "escrows and claims");
    }

    function _theRegistryHoldsStakes() private view {
        uint256 sum;
        for (uint256 i = 0; i < 3; i++) {
            INodeRegistry.Node memory n = registry.node(handler.nodes(i));
            assertLe(n.locked, n.stake, "locked within stake");
            sum += uint256(n.stake) + n.unbonding;
        }
        assertEq(token.balanceOf(address(registry)), sum, "stakes");
    }

    function _nothingIsPaidBeyondAnchoredTime() private view {
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) {
            IDaeeManager.Deployment memory d = manager.deployment(id);
            Handler.Book memory book = handler.bookOf(id);
            uint256 due = manager.due(id);
            assertLe(d.paid + due, book.earned, "paid beyond what was anchored");
            // And a node that was never late is short of nothing, while there is money.
            if (!book.late && !book.spent && due < d.balance) assertEq(d.paid + due, book.earned, "paid short");
        }
    }

    function _noTwoLeasesShareAnEpoch() private view {
        assertFalse(handler.repeated(), "an epoch twice");
        for (uint256 i = 0; i < handler.epochCount(); i++) {
            bytes32 epoch = handler.epochs(i);
            assertEq(manager.lesseeOf(epoch), handler.firstLessee(epoch), "an epoch changed hands");
        }
    }

    function _whatIsReservedIsWhatIsHeld() private view {
        uint256[3] memory cpu;
        uint256[3] memory mem;
        uint256[3] memory gpu;
        uint256[3] memory locked;
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) {
            IDaeeManager.Deployment memory d = manager.deployment(id);
            for (uint256 i = 0; i < 3; i++) {
                if (d.lease.node != handler.nodes(i)) continue;
                cpu[i] += d.terms.cpuMilli;
                mem[i] += d.terms.memMiB;
                gpu[i] += d.terms.gpu;
                locked[i] += d.lease.bond;
            }
        }
        for (uint256 i = 0; i < 3; i++) {
            INodeRegistry.Node memory n = registry.node(handler.nodes(i));
            INodeRegistry.Tail[] memory tails = registry.tails(handler.nodes(i));
            for (uint256 k = 0; k < tails.length; k++) locked[i] += tails[k].amount;
            assertEq(n.cpuUsed, cpu[i], "cpu");
            assertEq(n.memUsed, mem[i], "memory");
            assertEq(n.gpuUsed, gpu[i], "gpu");
            assertEq(n.locked, locked[i], "bonds and tails");
        }
    }

    function _onlyAnOpenedLeafMovesTheState() private view {
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) {
            assertEq(manager.deployment(id).stateRoot, handler.bookOf(id).root, "state root");
        }
    }
}
