// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "./interfaces/IDaeeManager.sol";
import {IDaeeOutbox} from "./interfaces/IDaeeOutbox.sol";

/// @title What agents publish
/// @notice Invariant: a value was written by the node that held the deployment's lease when it was written, in that
/// lease's epoch, and turns of a topic only rise (MARKET rule 17).
contract DaeeOutbox is IDaeeOutbox {
    uint256 public constant DATA_MAX = 4096;

    IDaeeManager public immutable manager;
    mapping(uint256 id => mapping(bytes32 topic => Value)) private _latest;

    constructor(IDaeeManager manager_) {
        manager = manager_;
    }

    /// @inheritdoc IDaeeOutbox
    function publish(uint256 id, bytes32 epoch, uint64 turn, bytes32 topic, bytes calldata data) external {
        (IDaeeManager.Phase phase, address node, bytes32 current) = manager.leaseOf(id);
        bool live = phase == IDaeeManager.Phase.Leased || phase == IDaeeManager.Phase.Closing;
        require(live && node == msg.sender && current == epoch, StaleLease(id, epoch, msg.sender));
        require(data.length <= DATA_MAX, TooLarge(data.length, DATA_MAX));
        Value storage value = _latest[id][topic];
        require(value.time == 0 || turn > value.turn, NotNewer(turn, value.turn));
        (value.time, value.turn, value.data) = (uint64(block.timestamp), turn, data);
        emit Published(id, topic, epoch, turn, data);
    }

    /// @inheritdoc IDaeeOutbox
    function latest(uint256 id, bytes32 topic) external view returns (Value memory) {
        return _latest[id][topic];
    }
}
