// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeOutbox} from "../interfaces/IDaeeOutbox.sol";

/// @title How another contract reads what an agent publishes
/// @notice Invariant: a price is returned only if it is one word that was published at most `ageMax` seconds ago.
/// @dev An example to copy. It believes one deployment, and so one node: where money hangs on the answer, read
/// several and take their median (MARKET rule 17).
contract PriceReader {
    IDaeeOutbox public immutable outbox;
    uint256 public immutable deployment;
    bytes32 public immutable topic; // its bytes, zeros to the right
    uint256 public immutable ageMax; // seconds

    error NeverPublished();
    error TooOld(uint256 age, uint256 ageMax);
    error NotAWord(uint256 size);

    constructor(IDaeeOutbox outbox_, uint256 deployment_, bytes32 topic_, uint256 ageMax_) {
        (outbox, deployment, topic, ageMax) = (outbox_, deployment_, topic_, ageMax_);
    }

    /// @notice The last price, in whatever decimals the agent publishes it (TIP-0042's oracle: 8).
    function price() external view returns (uint256) {
        IDaeeOutbox.Value memory last = outbox.latest(deployment, topic);
        require(last.time != 0, NeverPublished());
        uint256 age = block.timestamp - last.time;
        require(age <= ageMax, TooOld(age, ageMax));
        require(last.data.length == 32, NotAWord(last.data.length));
        return abi.decode(last.data, (uint256));
    }
}
