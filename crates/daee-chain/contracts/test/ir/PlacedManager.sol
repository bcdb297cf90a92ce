// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {DaeeManager, ERC20Burnable, INodeRegistry} from "../../src/DaeeManager.sol";

/// @notice The manager, put into any state that a vector names; what it does from there is its own.
contract PlacedManager is DaeeManager {
    constructor(ERC20Burnable token_, INodeRegistry registry_, Params memory p) DaeeManager(token_, registry_, p) {}

    function placeWindow(uint256 id, uint64 bidsClose, uint24 bidsExtended) external {
        (_deployments[id].bidsClose, _deployments[id].bidsExtended) = (bidsClose, bidsExtended);
    }

    function placeBalance(uint256 id, uint128 balance) external {
        _deployments[id].balance = balance;
    }

    function placeLease(uint256 id, Phase phase, Lease calldata lease) external {
        (_deployments[id].phase, _deployments[id].lease) = (phase, lease);
    }

    function placeCoverage(address node, Coverage calldata coverage_) external {
        _coverage[node] = coverage_;
    }
}
