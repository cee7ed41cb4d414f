# What all plots share. The caller has set `data`, a file of titled blocks, `count`, how many
# they are, `colours`, a number for each, and the output.
set terminal svg size 960,480 font "sans-serif,13" background "white"
set key outside right top reverse Left samplen 2 spacing 1.1
set grid lc rgb "#dddddd"
set border 3 lc rgb "#666666"
set tics nomirror
array colour[16] = ["#000000", "#999999", "#666600", "#0072b2", "#009e73", "#56b4e9", \
	"#d55e00", "#e69f00", "#b8860b", "#cc79a7", "#8b4b8b", "#994f00", "#bbbb00", "#708090", \
	"#aa0000", "#003366"]
do for [i = 1:16] {
	set linetype i lc rgb colour[i] lw 2 pt 7 ps 0.4
}
set linetype cycle 16
colour_of(i) = int(word(colours, i + 1))
