// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Test} from "forge-std/Test.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {IDaeeOutbox} from "../src/interfaces/IDaeeOutbox.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";

/// @notice Tests see the contracts through their faces alone and deploy what the compiler made of src. So they need
/// neither its settings nor its time: what ships is compiled through the IR, tests are not.
interface IManager is IDaeeManager {
    function anchoredAt(address node, bytes32 root) external view returns (uint64);
    function equivocated(bytes32 epoch) external view returns (bool);
    function lesseeOf(bytes32 epoch) external view returns (address);
    function pause(bool on) external;
}

interface IRegistry is INodeRegistry {
    function setManager(address manager) external;
    function pause(bool on) external;
}

/// @notice The manager, put into any state that a vector names.
interface IPlacedManager is IManager {
    function placeWindow(uint256 id, uint64 bidsClose, uint24 bidsExtended) external;
    function placeBalance(uint256 id, uint128 balance) external;
    function placeLease(uint256 id, Phase phase, Lease calldata lease) external;
    function placeCoverage(address node, Coverage calldata coverage) external;
}

interface IPriceReader {
    error NeverPublished();
    error TooOld(uint256 age, uint256 ageMax);
    error NotAWord(uint256 size);

    function price() external view returns (uint256);
}

abstract contract Contracts is Test {
    struct Params {
        address pauser;
        uint128 minBond;
        uint128 feePerByte;
        uint32 minRunway;
        uint32 bidWindowMin;
        uint32 intervalMin;
    }

    function _newToken(address to, uint256 supply) internal returns (IERC20) {
        return IERC20(deployCode("TalosToken.sol:TalosToken", abi.encode(to, supply)));
    }

    function _newRegistry(IERC20 token, address pauser, uint128 stakeMin, uint32 unbond, uint32 tail, uint32 anchorIntervalMin) internal returns (IRegistry) {
        return IRegistry(deployCode("NodeRegistry.sol:NodeRegistry", abi.encode(token, pauser, stakeMin, unbond, tail, anchorIntervalMin)));
    }

    function _newManager(IERC20 token, IRegistry registry, Params memory p) internal returns (IManager) {
        return IManager(deployCode("DaeeManager.sol:DaeeManager", abi.encode(token, registry, p)));
    }

    function _newPlacedManager(IERC20 token, IRegistry registry, Params memory p) internal returns (IPlacedManager) {
        return IPlacedManager(deployCode("PlacedManager.sol:PlacedManager", abi.encode(token, registry, p)));
    }

    function _newOutbox(IManager manager) internal returns (IDaeeOutbox) {
        return IDaeeOutbox(deployCode("DaeeOutbox.sol:DaeeOutbox", abi.encode(manager)));
    }

    function _newPriceReader(IDaeeOutbox outbox, uint256 id, bytes32 topic, uint256 ageMax) internal returns (IPriceReader) {
        return IPriceReader(deployCode("PriceReader.sol:PriceReader", abi.encode(outbox, id, topic, ageMax)));
    }
}
