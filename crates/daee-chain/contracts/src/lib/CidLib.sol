// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../interfaces/IDaeeManager.sol";

/// @title The only content identifier that a contract can check by itself
/// @notice A CIDv1 of codec raw with sha2-256 IS the hash of its content: 01 55 12 20 || digest.
library CidLib {
    bytes4 internal constant RAW_SHA256 = 0x01551220;

    /// @notice TIP-0042 3.2 step 2: the content at `cid` has the hash in the manifest.
    function requireRawOf(bytes calldata cid, bytes32 artifactHash) internal pure {
        require(cid.length == 36 && bytes4(cid[:4]) == RAW_SHA256, IDaeeManager.CidNotRawSha256());
        bytes32 digest = bytes32(cid[4:36]);
        require(digest == artifactHash, IDaeeManager.CidIsNotTheHash(digest, artifactHash));
    }
}
