// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title The tree that a node anchors once an interval (MARKET rule 1)
/// @notice Leaves are sorted by deployment; an odd node moves up as it is; the root binds the number of leaves.
/// A proof is [index, count, siblings from the bottom up].
library AnchorTree {
    error BadProof();

    /// @notice The root that a proof leads to; the caller looks up whether it was anchored.
    function rootOf(uint256 deployment, bytes32 leafHash, bytes32[] calldata proof) internal pure returns (bytes32 root) {
        require(proof.length >= 2, BadProof());
        uint256 index = uint256(proof[0]);
        uint256 count = uint256(proof[1]);
        require(index < count && count <= type(uint32).max, BadProof());
        bytes32 top = keccak256(abi.encodePacked(bytes1(0x00), deployment, leafHash));
        uint256 used = 2;
        for (uint256 width = count; width > 1; width = (width + 1) / 2) {
            if (index != width - 1 || width % 2 == 0) {
                require(used < proof.length, BadProof());
                bytes32 sibling = proof[used++];
                top = index % 2 == 0 ? _pair(top, sibling) : _pair(sibling, top);
            }
            index /= 2;
        }
        require(used == proof.length, BadProof());
        root = keccak256(abi.encodePacked(bytes1(0x02), count, top));
    }

    function _pair(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(bytes1(0x01), left, right));
    }
}
