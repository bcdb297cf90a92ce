// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title What agents publish, for other contracts to read
interface IDaeeOutbox {
    struct Value {
        uint64 time; // seconds; 0 = never published
        uint64 turn; // the turn that published it
        bytes data;
    }

    event Published(uint256 indexed id, bytes32 indexed topic, bytes32 epoch, uint64 turn, bytes data);

    error StaleLease(uint256 id, bytes32 epoch, address caller);
    error TooLarge(uint256 size, uint256 limit);
    error NotNewer(uint64 turn, uint64 last);

    /// @notice Only the current lessee, only in its own epoch, only for a turn later than the last it published for the topic.
    function publish(uint256 id, bytes32 epoch, uint64 turn, bytes32 topic, bytes calldata data) external;
    function latest(uint256 id, bytes32 topic) external view returns (Value memory);
}
