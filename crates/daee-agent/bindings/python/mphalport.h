/* mphalport.h: there is no hardware to describe, and MicroPython asks for this file. */
