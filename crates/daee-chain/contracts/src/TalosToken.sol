// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title The development stand-in for TALOS
/// @notice Invariant: supply only falls; all of it is minted to one account at deployment.
contract TalosToken is ERC20Burnable, ERC20Permit {
    constructor(address to, uint256 supply) ERC20("Talos (development)", "TALOS") ERC20Permit("Talos (development)") {
        _mint(to, supply);
    }
}
