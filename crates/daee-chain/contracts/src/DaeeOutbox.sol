// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "./interfaces/IDaeeManager.sol";
import {IDaeeOutbox} from "./interfaces/IDaeeOutbox.sol";

/// @title What agents publish
/// @notice Invariant: a value was written by the node that held the deployment's lease when it was written, in that
/// lease's epoch, and within an epoch the turns of a topic only rise (MARKET rule 17).
/// @dev A new lease may go on from an earlier turn, and must: its state is the last opened one, and a node that said
/// the highest turn there is would else have the last word for ever. What is read here is one node's word; whoever
/// acts on it with money takes several deployments and their median.
contract DaeeOutbox is IDaeeOutbox {
    uint256 public constant DATA_MAX = 4096;

    struct Entry {
        uint64 time;
        uint64 turn;
        bytes16 epoch; // enough of it to tell leases of one deployment apart, in one slot
        bytes data;
    }

    IDaeeManager public immutable manager;
    mapping(uint256 id => mapping(bytes32 topic => Entry)) private _latest;

    constructor(IDaeeManager manager_) {
        manager = manager_;
    }

    /// @inheritdoc IDaeeOutbox
    function publish(uint256 id, bytes32 epoch, uint64 turn, bytes32 topic, bytes calldata data) external {
        (IDaeeManager.Phase phase, address node, bytes32 current) = manager.leaseOf(id);
        bool live = phase == IDaeeManager.Phase.Leased || phase == IDaeeManager.Phase.Closing;
        require(live && node == msg.sender && current == epoch, StaleLease(id, epoch, msg.sender));
        require(data.length <= DATA_MAX, TooLarge(data.length, DATA_MAX));
        Entry storage last = _latest[id][topic];
        require(last.epoch != bytes16(epoch) || turn > last.turn, NotNewer(turn, last.turn));
        (last.time, last.turn, last.epoch) = (uint64(block.timestamp), turn, bytes16(epoch));
        last.data = data;
        emit Published(id, topic, epoch, turn, data);
    }

    /// @inheritdoc IDaeeOutbox
    function latest(uint256 id, bytes32 topic) external view returns (Value memory) {
        Entry storage last = _latest[id][topic];
        return Value(last.time, last.turn, last.data);
    }
}
