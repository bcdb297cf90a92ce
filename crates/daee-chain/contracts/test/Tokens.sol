// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";

/// @notice A token that keeps a hundredth of each transfer.
contract KeepsAPart is ERC20Burnable {
    constructor(address to) ERC20("part", "PART") {
        _mint(to, 1_000_000e18);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, value);
        super._update(from, to, value - value / 100);
        super._update(from, address(this), value / 100);
    }
}

/// @notice A token that calls the account it leaves or reaches, in the middle of a transfer.
contract CallsBack is ERC20Burnable {
    address public called;
    bytes public data;
    bool public accepted; // the last call back went through

    constructor(address to) ERC20("hook", "HOOK") {
        _mint(to, 1_000_000e18);
    }

    function callBack(address called_, bytes calldata data_) external {
        (called, data) = (called_, data_);
    }

    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (called == address(0)) return;
        (address target, bytes memory payload) = (called, data);
        called = address(0);
        (accepted,) = target.call(payload);
    }
}
